"""A sweep's copy in an object store, where the storage is a URL's mirror (see `storage`)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from droplora_sweep.errors import SweepError
from droplora_sweep.storage import mirror_of

from .driver_lease import find_holder
from .events import EventKind, encode
from .layout import LEASE, sweep_directory

if TYPE_CHECKING:
    from droplora_sweep.storage import Mirror

    from .events import Event


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


class RemoteCopy:
    """Carries what a driver writes to the object store, before it counts."""

    def __init__(self, mirror: Mirror, name: str) -> None:
        self._mirror = mirror
        self._name = name
        self._lease = mirror.lease(name)

    @classmethod
    def take(cls, storage: Path, name: str) -> RemoteCopy | None:
        """Hold a sweep's copy, and bring its folder to what the copy holds; None without a URL.

        Raises:
            SweepError: A driver on another machine holds it, the store does not answer, or what it
                holds is damaged.
        """
        mirror = mirror_of(storage)
        if mirror is None:
            return None
        copy = cls(mirror, name)
        try:
            mirror.pull(name)
        except SweepError:
            copy.close()
            raise
        return copy

    def add(self, event: Event) -> None:
        """Upload what changed, then the event, which has happened when this returns.

        Raises:
            SweepError: The store does not answer, or another driver has taken over.
        """
        self._lease.check()
        is_last = event.kind is EventKind.SWEEP_FINISHED
        self._mirror.push_files(self._name, with_log=is_last)
        self._mirror.push_event(self._name, event.seq, encode(event))

    def close(self) -> None:
        """Let other drivers have it."""
        self._lease.release()
