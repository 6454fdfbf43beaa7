"""A ledger that this process holds the lease of: events are appended, each durable and fenced."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from droplora_sweep.errors import SweepError
from droplora_sweep.files import disk_faults_named
from droplora_sweep.records.layout import LEASE, sweep_directory
from droplora_sweep.redaction import redact

from .lease import DriverLease
from .log import failpoint
from .reader import Ledger
from .remote_copy import RemoteCopy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from droplora_sweep.records.events import Event, EventKind
    from droplora_sweep.records.replay import SweepReplay

    from .lease import Holder
    from .log import EventLog


class SweepLease:
    """The right to write to a sweep; made by ``take``, ended by ``close``."""

    def __init__(self, lease: DriverLease, remote: RemoteCopy | None) -> None:
        self._lease = lease
        self._remote = remote

    @classmethod
    def take(cls, storage: Path, name: str) -> SweepLease:
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


class LeasedLedger(Ledger):
    """A ledger to whose log events can be added, from any thread."""

    def __init__(
        self,
        directory: Path,
        replay: SweepReplay,
        log: EventLog,
        hold: SweepLease,
        torn: str | None = None,
    ) -> None:
        super().__init__(directory, replay, torn)
        self._log = log
        self._sweep_lease = hold
        self._is_closed = False
        self._listeners: list[Callable[[Event], None]] = []

    @property
    def holder(self) -> Holder:
        """This driver, as the lease names it."""
        return self._sweep_lease.holder

    def subscribe(self, listener: Callable[[Event], None]) -> None:
        """Call ``listener`` with every event after it is durable.

        It is called on the writing thread, which holds the ledger's lock meanwhile.
        """
        self._listeners.append(listener)

    def require_lease(self) -> None:
        """See that this driver may write files of the sweep.

        Raises:
            LeaseLostError: Another driver has taken over.
        """
        self._sweep_lease.check()

    def close(self) -> None:
        """Give back the log's file and the lease; the records stay readable."""
        if not self._is_closed:
            self._is_closed = True
            self._log.close()
            self._sweep_lease.close()

    def _append(self, kind: EventKind, payload: Mapping[str, Any]) -> None:
        assert not self._is_closed, "this ledger was closed"
        if payload.get("reason"):
            # The one text of unknown origin; the spec is refused where it holds a secret.
            payload = {**payload, "reason": redact(payload["reason"])}
        with self._lock:
            event = self._log.next_event(kind, payload)
            self._replay.check(event)
            self._sweep_lease.write(self._log, event)
            self._replay.add(event)
            failpoint(kind.replace("_", "-"))
            for listener in self._listeners:
                listener(event)

    def _append_of_running(self, kind: EventKind, trial_id: str, by: str) -> bool:
        self.require_lease()
        with self._lock:
            if self._replay.trial(trial_id).is_finished:
                return False
            self._append(kind, {"trial_id": trial_id, "by": by})
        return True
