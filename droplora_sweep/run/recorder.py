"""Recorder of trials: writes what happens to them into the ledger, without blocking the search."""

from __future__ import annotations

import logging
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Any

from droplora_sweep.errors import SweepError
from droplora_sweep.groups.pool import ask, ask_outcome
from droplora_sweep.ledger.files import write_failure_log
from droplora_sweep.ledger.log import failpoint
from droplora_sweep.records.layout import trial_directory
from droplora_sweep.records.messages import Failed
from droplora_sweep.records.trial import TrialState
from droplora_sweep.storage.object_store import below
from droplora_sweep.training.checkpoints.places import checkpoint_place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from concurrent.futures import Future

    from ray.actor import ActorHandle

    from droplora_sweep.groups.messages import Adjustment
    from droplora_sweep.ledger.writer import LedgerWriter
    from droplora_sweep.records.trial import Evaluation, PlannedTrial

    from .population import Population

logger = logging.getLogger(__name__)

DRAIN_INTERVAL_S = 0.2


class Recorder:
    """A `TrialListener` that ends trials in their group, collects what they leave, and records it.

    The ledger is written by one thread at a time. A trial's adapter may take seconds to arrive, so
    a thread of its own waits for it while Tune continues.
    """

    def __init__(
        self, ledger: LedgerWriter, pool: ActorHandle[Any], population: Population | None = None
    ) -> None:
        self._ledger = ledger
        self._pool = pool
        self._population = population
        self._lock = threading.Lock()
        self._collector = ThreadPoolExecutor(max_workers=1, thread_name_prefix="collector")
        self._pending: list[Future[None]] = []
        self._abandoned = threading.Event()
        self._refusal: SweepError | None = None
        self._finish_discarding()

    def started(self, trial: PlannedTrial) -> None:
        """Record a trial's start."""
        self._write(self._ledger.trial_started, trial)

    def reported(self, trial_id: str, evaluation: Evaluation) -> None:
        """Record an evaluation, and what a member of a population does after it."""
        self._write(self._ledger.trial_reported, trial_id, evaluation)
        if self._population is not None:
            self._write(self._population.decide, trial_id)

    def adjusted(self, adjustments: Iterable[Adjustment]) -> None:
        """Record what groups had to change in trials."""
        for each in adjustments:
            settings = {"training.micro_batch_size": each.micro_batch_size}
            self._write(self._ledger.trial_adjusted, each.trial_id, settings, each.reason)

    def retried(self, trial_id: str, by: str) -> None:
        """Record who has a failed trial run again, from its first step; it can be submitted anew.

        Raises:
            SweepError: The ledger cannot be written.
            PoolLostError: The pool has died.
        """
        with self._lock:
            self._discard_checkpoints(trial_id)
            self._ledger.trial_retried(trial_id, by)
        ask(self._pool, "retry", trial_id)

    def ended(self, trial_id: str, state: TrialState, reason: str | None) -> None:
        """End the trial in its group; its record follows when its adapter is here."""
        failpoint("trial-ended")
        self._pool.end.remote(trial_id)
        asked_by = self._ledger.trial(trial_id).stop_asked_by
        if state is TrialState.STOPPED and asked_by is not None:
            reason = f"droplora-sweep stop-trial, by {asked_by}"
        self._pending.append(self._collector.submit(self._collect, trial_id, state, reason))

    def check(self) -> None:
        """Raises what recording raised, e.g. SweepError for a full disk."""
        if self._refusal is not None:
            raise self._refusal
        for future in [future for future in self._pending if future.done()]:
            self._pending.remove(future)
            future.result()

    def drain(self, should_stop: Callable[[], bool]) -> None:
        """Wait until every trial that has ended is recorded, or it is told to stop."""
        while any(not future.done() for future in self._pending) and not should_stop():
            wait(self._pending, timeout=DRAIN_INTERVAL_S)
        if not self._abandoned.is_set():
            self.check()

    def abandon(self) -> None:
        """The sweep is cut short: what has not been recorded stays RUNNING, to be resumed.

        Nothing that arrives later is recorded: groups end their trials now, and a trial that is
        merely interrupted must not look as if it had been stopped.
        """
        self._abandoned.set()

    def close(self) -> None:
        """Wait for what is on its way, unless the sweep was abandoned."""
        self._collector.shutdown(wait=True)
        if not self._abandoned.is_set():
            self.check()

    def _write(self, write: Callable[..., None], *args: Any, **kwargs: Any) -> None:
        """Write to the ledger from within Tune, whose loop an error would break.

        The first one is kept for `check`, and nothing is written after it: what follows would
        tell of a trial whose start is missing.
        """
        with self._lock:
            if self._refusal is None:
                try:
                    write(*args, **kwargs)
                except SweepError as error:
                    self._refusal = error

    def _collect(self, trial_id: str, state: TrialState, reason: str | None) -> None:
        outcome = ask_outcome(self._pool, trial_id, self._abandoned.is_set)
        with self._lock:
            if outcome is None or self._refusal is not None:
                return
            if isinstance(outcome, Failed):
                if outcome.log:
                    folder = trial_directory(self._ledger.directory, trial_id)
                    write_failure_log(folder, outcome.log)
                reason = reason or outcome.reason
                self._ledger.trial_finished(trial_id, TrialState.FAILED, reason=reason)
            else:
                files = outcome.files
                self._ledger.trial_finished(
                    trial_id,
                    state,
                    reason=reason,
                    adapter_files=None if files is None else files.moved(),
                    results=outcome.results or None,
                )
                if files is not None:
                    # Empty now.
                    shutil.rmtree(files.folder, ignore_errors=True)
            self._discard_checkpoints(trial_id)

    def _finish_discarding(self) -> None:
        """Remove what a driver left that was killed between a trial's end and its checkpoints'.

        Trials end one after the other, so that it can only be the last one.
        """
        ended = {trial.finished: trial for trial in self._ledger.records() if trial.finished}
        if ended:
            self._discard_checkpoints(ended[max(ended)].trial_id)

    def _discard_checkpoints(self, trial_id: str) -> None:
        place = checkpoint_place(below(self._ledger.trials_location, trial_id))
        try:
            place.clear()
        except (OSError, SweepError) as error:
            # They take room, and nothing else reads them.
            logger.warning("%s: cannot remove checkpoints: %s", place, error)
