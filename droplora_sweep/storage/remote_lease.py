"""One driver at a time, where drivers of several machines share an object store.

Each driver writes an object of its own, then looks for others. Stores list what was written
before, so of two that come at once at least one sees the other and steps back, without the
conditional writes that not every store has. Whether a driver lives is told by the store's own
clock: the age of its object, which it writes anew every few seconds.
"""

from __future__ import annotations

import contextlib
import json
import threading
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from droplora_sweep.errors import SweepError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from .object_store import ObjectStore

HEARTBEAT_S = 10.0
EXPIRES_S = 60.0
"""A driver that has not written its object for this long is taken to be dead."""


class RemoteLease:
    """The right to write to one sweep; given back by `release`."""

    def __init__(
        self,
        store: ObjectStore,
        sweep: str,
        driver: Mapping[str, Any],
        is_gone: Callable[[Mapping[str, Any]], bool],
        *,
        heartbeat_s: float = HEARTBEAT_S,
        expires_s: float = EXPIRES_S,
    ) -> None:
        """Take it.

        Args:
            store: Object store that the sweep is in.
            sweep: Its name.
            driver: Says who this is: ``host``, ``pid``, ``since``, and what ``is_gone`` needs.
            is_gone: Tells whether the driver of a description can be seen to have ended.
            heartbeat_s: Seconds between two signs of life.
            expires_s: Seconds without one after which a driver is taken to be dead.

        Raises:
            SweepError: Another driver has it; says which.
        """
        self._store = store
        self._sweep = sweep
        self._key = f"{_folder(sweep)}/{uuid.uuid4().hex}"
        self._content = json.dumps(dict(driver)).encode()
        self._heartbeat_s = heartbeat_s
        self._store.put(self._key, self._content)
        try:
            self._require_no_other(is_gone, expires_s)
        except SweepError:
            with contextlib.suppress(SweepError):
                self._store.delete(self._key)
            raise
        self._released = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="remote-lease", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """See that it is still this driver's.

        Raises:
            SweepError: A driver that took this one for dead has removed its object.
        """
        if not self._store.exists(self._key):
            taken = f"another driver has taken {self._sweep} over; this driver stops writing"
            raise SweepError(f"{self._store.url}: {taken}")

    def release(self) -> None:
        """Let others have it."""
        self._released.set()
        self._thread.join()
        with contextlib.suppress(SweepError):
            self._store.delete(self._key)

    def _require_no_other(
        self, is_gone: Callable[[Mapping[str, Any]], bool], expires_s: float
    ) -> None:
        now = self._store.stamps(_folder(self._sweep))[self._key].written
        for key, driver, age_s in _drivers(self._store, self._sweep, now):
            if key == self._key:
                continue
            if age_s < expires_s and not is_gone(driver):
                raise SweepError(
                    f"{self._sweep}: must have one driver, and is already running on "
                    f"{driver['host']}, "
                    f"pid {driver['pid']}, since {driver['since']}"
                )
            self._store.delete(key)

    def _renew(self) -> None:
        while not self._released.wait(self._heartbeat_s):
            # A store that is away for a moment costs a heartbeat, not the sweep.
            with contextlib.suppress(SweepError):
                if self._store.exists(self._key):
                    self._store.put(self._key, self._content)


def _folder(sweep: str) -> str:
    return f"{sweep}/leases"


def living_driver(
    store: ObjectStore,
    sweep: str,
    is_gone: Callable[[Mapping[str, Any]], bool],
    expires_s: float = EXPIRES_S,
) -> Mapping[str, Any] | None:
    """Description of the driver that holds a sweep; None where no driver does.

    Writes nothing, so that this machine's clock has to do for the store's.
    """
    for _, driver, age_s in _drivers(store, sweep, datetime.now(UTC)):
        if age_s < expires_s and not is_gone(driver):
            return driver
    return None


def _drivers(
    store: ObjectStore, sweep: str, now: datetime
) -> Iterator[tuple[str, Mapping[str, Any], float]]:
    """Key of each driver's object, what it says, and its age in seconds."""
    for key, stamp in store.stamps(_folder(sweep)).items():
        # One that is gone by now has given the sweep back.
        if store.exists(key):
            yield key, json.loads(store.get(key)), (now - stamp.written).total_seconds()
