"""A sweep's ledger, read on while its driver writes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from droplora_sweep.records.layout import EVENTS, LEASE, sweep_directory
from droplora_sweep.records.replay import SweepReplay
from droplora_sweep.storage.mirror import mirror_of

from .lease import find_holder
from .log import LogReader
from .progress import read_progress
from .reader import Ledger, read_sweep, require_sweep
from .remote_copy import fetch_sweep, find_driver

if TYPE_CHECKING:
    from pathlib import Path

    from droplora_sweep.records.events import Event

    from .lease import Holder
    from .progress import LiveProgress

POLL_S = 2.0
URL_POLL_S = 15.0
"""Of a sweep in an object store every look asks the store for all that it lists."""


@dataclass(frozen=True)
class Look:
    """A sweep at one look.

    Attributes:
        ledger: As of then; later looks do not change it.
        new: Events since the last look; all of them at the first.
        holder: The driver that works on it, None where none does.
        live: What its driver last said of its running trials; None where that is not known here.
        takes_requests: True where the driver can be asked from this machine: it sees the same
            folder.
    """

    ledger: Ledger
    new: tuple[Event, ...]
    holder: Holder | None
    live: LiveProgress | None
    takes_requests: bool


class Follower:
    """Reads a sweep's ledger on; nothing is written but a URL's mirror.

    Attributes:
        storage: The folder that the sweep is in.
        name: The sweep's.
        poll_s: Seconds between two looks that are worth their cost.
    """

    def __init__(self, storage: Path, name: str) -> None:
        """Find the sweep.

        Raises:
            SweepError: There is none of that name, or it has not begun.
        """
        self.storage = storage
        self.name = name
        self.poll_s = POLL_S if mirror_of(storage) is None else URL_POLL_S
        require_sweep(storage, name)
        self._directory = sweep_directory(storage, name)
        self._begin()

    def look(self) -> Look:
        """Take in what has happened since the last look.

        Raises:
            SweepError: The log is damaged, or the store does not answer.
        """
        own = find_holder(self._directory / LEASE)
        holder = own or find_driver(self.storage, self.name)
        fetch_sweep(self.storage, self.name)
        events = self._log.read_on()
        if events is None:
            self._begin()
            events = self._log.read_on() or ()
        for event in events:
            self._replay.add(event)
        ledger = Ledger(self._directory, self._replay.copy(), torn=self._log.torn)
        live = read_progress(self._directory)
        return Look(ledger, events, holder, live, takes_requests=own is not None)

    def _begin(self) -> None:
        read_sweep(self._directory)
        self._log = LogReader(self._directory / EVENTS)
        self._replay = SweepReplay(self._directory)
