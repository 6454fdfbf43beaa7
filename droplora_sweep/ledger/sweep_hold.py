"""The one driver's hold on a sweep: on its folder, and on its copy where the storage is a URL."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from droplora_sweep.errors import SweepError
from droplora_sweep.files import disk_faults_named
from droplora_sweep.records.layout import LEASE, sweep_directory

from .lease import DriverLease
from .remote_copy import RemoteCopy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from droplora_sweep.records.events import Event

    from .lease import Holder
    from .log import EventLog


class SweepHold:
    """The right to write to a sweep; made by ``take``, ended by ``close``."""

    def __init__(self, lease: DriverLease, remote: RemoteCopy | None) -> None:
        self._lease = lease
        self._remote = remote

    @classmethod
    def take(cls, storage: Path, name: str) -> SweepHold:
        """Hold a sweep, whose folder exists and is then what the URL holds, if there is one.

        Raises:
            SweepError: Another driver holds it, or an object store does not answer.
        """
        lease = DriverLease.take(sweep_directory(storage, name) / LEASE)
        try:
            remote = RemoteCopy.take(storage, name, lease.holder)
        except SweepError:
            lease.release()
            raise
        return cls(lease, remote)

    @property
    def holder(self) -> Holder:
        """This driver, as the lease names it."""
        return self._lease.holder

    @contextmanager
    def given_back_on_errors(self, directory: Path) -> Iterator[None]:
        """Do what comes between holding a sweep and writing its first event.

        Raises:
            SweepError: Whatever went wrong, what the file system refuses included; the sweep is
                then nobody's again.
        """
        try:
            with disk_faults_named(directory):
                yield
        except SweepError:
            self.close()
            raise

    def check(self) -> None:
        """See that the sweep is still this driver's.

        Raises:
            LeaseLostError: It is not.
        """
        self._lease.check()

    def write(self, log: EventLog, event: Event) -> None:
        """Make an event happen: where there is a URL, it has happened once it is there.

        Raises:
            SweepError: The sweep is another driver's, or store or file system refuse.
        """
        if self._remote is not None:
            # May take long; meanwhile others must be able to read who holds the sweep.
            self._lease.check()
            self._remote.add(event)
        with self._lease.held():
            log.append(event)

    def close(self) -> None:
        """Let other drivers have it."""
        if self._remote is not None:
            self._remote.close()
        self._lease.release()
