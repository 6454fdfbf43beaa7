"""One driver at a time, where drivers of several machines share an object store.

Each driver writes an object of its own, then looks for others. Stores list what was written
before, so of two that come at once at least one sees the other and steps back, without the
conditional writes that not every store has. Whether a driver lives is told by the store's own
clock: the age of its object, which it writes anew every few seconds.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import uuid
from typing import TYPE_CHECKING

from droplora_sweep.errors import SweepError

if TYPE_CHECKING:
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
        *,
        heartbeat_s: float = HEARTBEAT_S,
        expires_s: float = EXPIRES_S,
    ) -> None:
        """Take it.

        Raises:
            SweepError: Another driver has it; says which.
        """
        self._store = store
        self._sweep = sweep
        self._folder = f"{sweep}/leases"
        self._key = f"{self._folder}/{uuid.uuid4().hex}"
        self._content = json.dumps({"host": socket.gethostname(), "pid": os.getpid()}).encode()
        self._heartbeat_s = heartbeat_s
        self._store.put(self._key, self._content)
        try:
            self._require_no_other(expires_s)
        except SweepError:
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
            raise SweepError(
                f"{self._store.url}: {self._sweep} must be held by this driver, and another has "
                "taken over; this driver stops writing"
            )

    def release(self) -> None:
        """Let others have it."""
        self._released.set()
        self._thread.join()
        with contextlib.suppress(SweepError):
            self._store.delete(self._key)

    def _require_no_other(self, expires_s: float) -> None:
        times = self._store.times(self._folder)
        now = times.pop(self._key)
        for key, time in times.items():
            if (now - time).total_seconds() < expires_s:
                holder = json.loads(self._store.get(key))
                raise SweepError(
                    f"{self._sweep}: must have one driver, and is held by process "
                    f"{holder['pid']} on {holder['host']}"
                )
            self._store.delete(key)

    def _renew(self) -> None:
        while not self._released.wait(self._heartbeat_s):
            # A store that is away for a moment costs a heartbeat, not the sweep.
            with contextlib.suppress(SweepError):
                if self._store.exists(self._key):
                    self._store.put(self._key, self._content)
