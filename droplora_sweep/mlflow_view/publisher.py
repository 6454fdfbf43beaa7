"""Publishes a ledger to MLflow: in the background while its sweep runs, or all at once after.

The ledger is the queue: the publisher remembers only *which* runs are out of date, and brings
each to its record's present state. A server that is away costs no memory, and what could not be
published can be published from the ledger later.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlflow.exceptions import MlflowException

from .client import first_line
from .runs import PARENT, SweepRuns

if TYPE_CHECKING:
    from collections.abc import Callable

    from droplora_sweep.ledger.reader import Ledger
    from droplora_sweep.ledger.writer import LedgerWriter
    from droplora_sweep.records.events import Event

    from .runs import Summarise

FIRST_RETRY_S = 2.0
LAST_RETRY_S = 60.0
"""Pauses between attempts to reach a store that fails: doubling from the first to the last."""


@dataclass(frozen=True)
class PublishReport:
    """Result of publishing a ledger.

    Attributes:
        unpublished: Runs that MLflow lacks or has in an old state: trial ids, and ``sweep``.
        error: The last failure, if anything is unpublished.
    """

    unpublished: tuple[str, ...]
    error: str | None

    @property
    def is_complete(self) -> bool:
        return not self.unpublished


class MlflowPublisher:
    """A thread that keeps MLflow up to date with a ledger that is being written.

    A failure is never raised: it is told to ``on_failure`` once until publishing works again,
    is tried again after a pause, and what remains is in ``close``'s report.
    """

    def __init__(
        self,
        ledger: LedgerWriter,
        uri: str | None = None,
        on_failure: Callable[[str], None] | None = None,
        summarise: Summarise | None = None,
    ) -> None:
        """Start; whatever the store is, nothing of it is waited for here.

        Args:
            ledger: The driver's ledger; its events so far are published too.
            uri: Tracking URI; None is the sqlite store of the ledger's storage.
            on_failure: Called on the publisher's thread with one line of text.
            summarise: Gives the summaries of confirmed settings; called on the publisher's thread.
        """
        self._ledger = ledger
        self._on_failure = on_failure
        self._changed = threading.Condition()
        trial_ids = [trial.trial_id for trial in ledger.records()]
        self._stale: dict[str, None] = dict.fromkeys([*trial_ids, PARENT])
        self._busy_with: str | None = None
        self._is_closing = False
        self._error: str | None = None
        self._runs = SweepRuns(ledger, uri, summarise)
        ledger.subscribe(self._notice)
        self._thread = threading.Thread(target=self._work, name="mlflow-publisher", daemon=True)
        self._thread.start()

    def close(self, timeout_s: float = 60) -> PublishReport:
        """Publish what is left, end every run that is still running, and stop.

        Args:
            timeout_s: Longest wait; a store that does not answer is then given up.
        """
        running = [trial.trial_id for trial in self._ledger.records() if not trial.is_finished]
        with self._changed:
            self._is_closing = True
            self._stale.update(dict.fromkeys([*running, PARENT]))
            self._changed.notify()
        self._thread.join(timeout_s)
        with self._changed:
            error = self._error
            unpublished = dict(self._stale)
            if self._busy_with is not None:
                unpublished[self._busy_with] = None
                error = error or f"no answer within {timeout_s:g} s"
            return PublishReport(tuple(unpublished), error if unpublished else None)

    @property
    def backlog(self) -> int:
        """Runs that the store lacks, or has in an earlier state."""
        with self._changed:
            return len(self._stale.keys() | filter(None, [self._busy_with]))

    def _notice(self, event: Event) -> None:
        with self._changed:
            self._stale[event.trial_id or PARENT] = None
            if event.trial_id is not None and "state" in event.payload:
                self._stale[PARENT] = None
            self._changed.notify()

    def _work(self) -> None:
        pause_s = FIRST_RETRY_S
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._stale or self._is_closing)
                is_last = self._is_closing
                stale = list(self._stale)
            if self._publish(stale, is_live=not is_last):
                pause_s = FIRST_RETRY_S
            elif not is_last:
                self._pause(pause_s)
                pause_s = min(2 * pause_s, LAST_RETRY_S)
            if is_last:
                return

    def _pause(self, seconds: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._is_closing, timeout=seconds)

    def _publish(self, keys: list[str], *, is_live: bool) -> bool:
        """Bring the named runs up to date; whether that worked for all."""
        in_order = sorted(keys, key=lambda key: key == PARENT)
        report = _publish_each(in_order, lambda key: self._publish_one(key, is_live=is_live))
        if report.error is None:
            with self._changed:
                self._error = None
        return report.is_complete

    def _publish_one(self, key: str, *, is_live: bool) -> str | None:
        with self._changed:
            # Before publishing: an event that arrives meanwhile makes it stale again.
            self._stale.pop(key, None)
            self._busy_with = key
        error = _try_to_publish(self._runs, self._ledger, key, is_live=is_live)
        with self._changed:
            self._busy_with = None
            is_news = error is not None and self._error is None
            if error is not None:
                self._stale[key] = None
                self._error = error
        if error is not None and is_news and self._on_failure is not None:
            self._on_failure(error)
        return error


def publish_all(
    ledger: Ledger,
    uri: str | None = None,
    *,
    is_live: bool = False,
    summarise: Summarise | None = None,
) -> PublishReport:
    """Publish a whole ledger, again and again if need be; of a running sweep, as far as it is.

    Args:
        ledger: The ledger, as opened for reading.
        uri: Tracking URI; None is the sqlite store of the ledger's storage.
        is_live: True where a driver works on the sweep; else running trials are interrupted.
        summarise: Gives the summaries of confirmed settings.
    """
    keys = [*(trial.trial_id for trial in ledger.records()), PARENT]
    runs = SweepRuns(ledger, uri, summarise)
    return _publish_each(keys, lambda key: _try_to_publish(runs, ledger, key, is_live=is_live))


def _publish_each(keys: list[str], publish: Callable[[str], str | None]) -> PublishReport:
    """Publish one run after the other.

    One failure may be that run's own; after two in a row the store is taken to be away, and the
    rest is left for later.
    """
    unpublished: list[str] = []
    last_error: str | None = None
    failures_in_a_row = 0
    for index, key in enumerate(keys):
        if failures_in_a_row == 2:
            unpublished += keys[index:]
            break
        error = publish(key)
        failures_in_a_row = 0 if error is None else failures_in_a_row + 1
        if error is not None:
            unpublished.append(key)
            last_error = error
    return PublishReport(tuple(unpublished), last_error)


CHANGED_THERE = frozenset({"INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST"})
"""Error codes of MLflow for a run that was deleted since it was found."""


def _try_to_publish(runs: SweepRuns, ledger: Ledger, key: str, *, is_live: bool) -> str | None:
    """Publish one run; the error in one line, or None."""
    try:
        try:
            _publish_run(runs, ledger, key, is_live=is_live)
        except MlflowException as error:
            if error.error_code not in CHANGED_THERE:
                raise
            runs.forget()
            _publish_run(runs, ledger, key, is_live=is_live)
    # Blind on purpose: MLflow raises what its store, its artifact repository and their drivers
    # raise (MlflowException, sqlalchemy's, requests', boto's, OSError). None may end a sweep
    # whose results are safe in the ledger.
    except Exception as error:  # noqa: BLE001
        runs.forget()
        return f"{key}: {type(error).__name__}: {first_line(error)}"
    return None


def _publish_run(runs: SweepRuns, ledger: Ledger, key: str, *, is_live: bool) -> None:
    if key == PARENT:
        runs.publish_sweep(is_live=is_live)
    else:
        runs.publish_trial(ledger.trial(key), is_live=is_live)
