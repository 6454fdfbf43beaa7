"""A ledger that this process holds the lease of: events are appended, each durable and fenced."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from droplora_sweep.redaction import redact

from .failpoints import failpoint
from .reader import Ledger

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from droplora_sweep.records.events import Event, EventKind
    from droplora_sweep.records.replay import SweepFold

    from .lease import Holder
    from .log import EventLog
    from .sweep_hold import SweepHold


class HeldLedger(Ledger):
    """A ledger to whose log events can be added, from any thread."""

    def __init__(
        self,
        directory: Path,
        fold: SweepFold,
        log: EventLog,
        hold: SweepHold,
        torn: str | None = None,
    ) -> None:
        super().__init__(directory, fold, torn)
        self._log = log
        self._hold = hold
        self._is_closed = False
        self._listeners: list[Callable[[Event], None]] = []

    @property
    def holder(self) -> Holder:
        """This driver, as the lease names it."""
        return self._hold.holder

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
        self._hold.check()

    def close(self) -> None:
        """Give back the log's file and the lease; the records stay readable."""
        if not self._is_closed:
            self._is_closed = True
            self._log.close()
            self._hold.close()

    def _append(self, kind: EventKind, payload: Mapping[str, Any]) -> None:
        assert not self._is_closed, "this ledger was closed"
        if payload.get("reason"):
            # The one text of unknown origin; the spec is refused where it holds a secret.
            payload = {**payload, "reason": redact(payload["reason"])}
        with self._lock:
            event = self._log.next_event(kind, payload)
            self._fold.check(event)
            self._hold.write(self._log, event)
            self._fold.add(event)
            failpoint(kind.replace("_", "-"))
            for listener in self._listeners:
                listener(event)

    def _append_of_running(self, kind: EventKind, trial_id: str, by: str) -> bool:
        self.require_lease()
        with self._lock:
            if self._fold.trial(trial_id).is_finished:
                return False
            self._append(kind, {"trial_id": trial_id, "by": by})
        return True
