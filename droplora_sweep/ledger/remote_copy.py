"""A sweep's copy in an object store, where the storage is a URL's mirror (see `storage`)."""

from __future__ import annotations

import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from droplora_sweep.errors import SweepError
from droplora_sweep.records.events import EventKind, encode
from droplora_sweep.records.layout import LEASE, sweep_directory
from droplora_sweep.storage.mirror import mirror_of
from droplora_sweep.storage.object_store import StoreError
from droplora_sweep.storage.remote_lease import RemoteLease, living_driver

from .lease import Holder, Process, find_holder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from droplora_sweep.records.events import Event
    from droplora_sweep.storage.mirror import Mirror

PATIENCE_S = 120.0
"""A store that is away for longer ends the sweep, which can then be resumed."""
PAUSE_S = 0.5


def fetch_sweep(storage: Path, name: str) -> None:
    """Bring the folder of a sweep that no driver of this machine works on to what the URL holds.

    Does nothing in a storage that is no mirror.

    Raises:
        SweepError: The store does not answer, or what it holds is damaged.
    """
    mirror = mirror_of(storage)
    if Path(name).name != name:
        return
    if mirror is not None and find_holder(sweep_directory(storage, name) / LEASE) is None:
        mirror.pull(name)


def find_driver(storage: Path, name: str) -> Holder | None:
    """The driver that holds a sweep now, on this machine or through the URL; None if none does.

    Raises:
        SweepError: The store does not answer.
    """
    holder = find_holder(sweep_directory(storage, name) / LEASE)
    mirror = mirror_of(storage)
    if holder is not None or mirror is None:
        return holder
    driver = living_driver(mirror.store, name, _is_gone)
    if driver is None:
        return None
    since = datetime.fromisoformat(driver["since"])
    return Holder(_process(driver), driver["token"], since, datetime.now(UTC))


class RemoteCopy:
    """Carries what a driver writes to the object store, before it counts."""

    def __init__(
        self, mirror: Mirror, name: str, holder: Holder, patience_s: float = PATIENCE_S
    ) -> None:
        self._mirror = mirror
        self._name = name
        self._patience_s = patience_s
        driver = {
            **asdict(holder.process),
            "since": holder.since.isoformat(timespec="seconds"),
            "token": holder.token,
        }
        self._lease = RemoteLease(mirror.store, name, driver, _is_gone)

    @classmethod
    def take(cls, storage: Path, name: str, holder: Holder) -> RemoteCopy | None:
        """Hold a sweep's copy, and bring its folder to what the copy holds; None without a URL.

        Raises:
            SweepError: A driver on another machine holds it, the store does not answer, or what it
                holds is damaged.
        """
        mirror = mirror_of(storage)
        if mirror is None:
            return None
        copy = cls(mirror, name, holder)
        try:
            mirror.pull(name)
        except SweepError:
            copy.close()
            raise
        return copy

    def add(self, event: Event) -> None:
        """Upload what changed, then the event, which has happened when this returns.

        A store that is away is waited for; nothing is lost meanwhile.

        Raises:
            SweepError: The store stays away, or another driver has taken over.
        """
        deadline = time.monotonic() + self._patience_s
        while True:
            try:
                return self._add(event)
            except StoreError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(PAUSE_S)

    def close(self) -> None:
        """Let other drivers have it."""
        self._lease.release()

    def _add(self, event: Event) -> None:
        self._lease.check()
        is_last = event.kind is EventKind.SWEEP_FINISHED
        self._mirror.push_files(self._name, with_log=is_last)
        self._mirror.push_event(self._name, event.seq, encode(event))


def _process(driver: Mapping[str, Any]) -> Process:
    return Process(driver["host"], driver["pid"], driver["started"], driver["machine"])


def _is_gone(driver: Mapping[str, Any]) -> bool:
    return _process(driver).is_gone()
