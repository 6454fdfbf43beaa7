"""A sweep's search under Ray Tune."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from ray import tune

from droplora_sweep import private_api
from droplora_sweep.records.messages import (
    POOL,
    Evaluated,
    Failed,
    Stopped,
    message_of,
    submission_of,
)
from droplora_sweep.records.trial import TrialState

from .scheduler import is_paired, make_scheduler

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from ray.tune.experiment import Trial

    from droplora_sweep.records.trial import Evaluation, PlannedTrial
    from droplora_sweep.spec import SweepSpec

    from .history import TrialHistory
    from .rules import IsBehind
    from .scheduler import Pins
    from .searcher import StudySearcher


MAX_CLIENT_RESTARTS = 5
"""A trial whose Tune client dies more often has failed."""


class TrialListener(Protocol):
    """Hears of every trial, in order, on the driver's thread; must not block for long."""

    def started(self, trial: PlannedTrial) -> None:
        """The trial was handed to its client."""

    def reported(self, trial_id: str, evaluation: Evaluation) -> None:
        """The trial gave an evaluation; it waits for the scheduler.

        Its outcomes are given where the stopping rule depends on them.
        """

    def ended(self, trial_id: str, state: TrialState, reason: str | None) -> None:
        """The trial is over: at its end, stopped by the scheduler, or failed with a reason."""


def run_search(
    *,
    client: type[tune.Trainable],
    pool_name: str,
    sweep: SweepSpec,
    searcher: StudySearcher,
    listener: TrialListener,
    known: Iterable[TrialHistory],
    pins: Pins,
    client_resources: dict[str, float],
    should_stop: Callable[[], bool],
    scratch: Path,
    is_behind: IsBehind,
) -> None:
    """Run trials until the searcher has no more or ``should_stop`` says so.

    Trials that are cut short by ``should_stop`` have not ended: neither the study nor the listener
    hears of it, and a later driver resumes them.

    Args:
        client: The Tune trainable that leases a group for a trial.
        pool_name: The pool in which clients find groups.
        sweep: The sweep.
        searcher: Draws the trials.
        listener: Hears of them.
        known: Trials of earlier drivers, for the scheduler to compare with.
        pins: Trials that the scheduler must not stop; may grow while they run.
        client_resources: Custom Ray resources of each client; it needs no CPU or GPU.
        should_stop: Asked in every round of Tune's loop.
        scratch: Folder for Tune's own files; nothing in it is read again.
        is_behind: For the rule ``futility``: returns True where a trial is behind another beyond
            chance.
    """
    stopper = _StopWhen(should_stop, searcher)
    private_api.keep_from_ray_tune(SECRETS)
    for name, value in TUNE_SETTINGS.items():
        os.environ.setdefault(name, value)
    tuner = tune.Tuner(
        tune.with_resources(client, tune.PlacementGroupFactory([client_resources])),
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            scheduler=make_scheduler(sweep, known, is_behind),
            # The searcher says when there are no more.
            num_samples=-1,
            reuse_actors=True,
            trial_dirname_creator=lambda trial: trial.trial_id,
        ),
        param_space={POOL: pool_name},
        run_config=tune.RunConfig(
            name=sweep.name,
            storage_path=str(scratch / "tune"),
            callbacks=[
                _Forwarder(
                    searcher=searcher,
                    listener=listener,
                    stopper=stopper,
                    pins=pins,
                    has_outcomes=is_paired(sweep),
                )
            ],
            stop=stopper,
            # A client holds nothing: the next one asks the pool where its trial is.
            failure_config=tune.FailureConfig(max_failures=MAX_CLIENT_RESTARTS),
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            verbose=0,
        ),
    )
    tuner.fit()


SECRETS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SECURITY_TOKEN", "AWS_SESSION_TOKEN")
"""Tune gives these to its actors in their runtime environment, which Ray writes into its logs. A
client of a trial needs none."""

TUNE_SETTINGS = {
    # Results are in the ledger: Tune's CSV, JSON and TensorBoard files would repeat them.
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    # A failed trial reports no metric, so that no scheduler compares with it.
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    # Tune's snapshot is never read.
    "TUNE_GLOBAL_CHECKPOINT_S": "86400",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    # SIGINT ends the sweep in order, by the driver's own handler.
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
}


class _DriverOnly:
    """Tune pickles what it is given, for a restore that never happens here."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class _StopWhen(_DriverOnly, tune.Stopper):
    """Stopper that asks in every round; trials that end after it says stop are only interrupted."""

    def __init__(self, should_stop: Callable[[], bool], searcher: StudySearcher) -> None:
        self._should_stop = should_stop
        self._searcher = searcher
        self.has_stopped = False

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        if not self.has_stopped and self._should_stop():
            self.has_stopped = True
            self._searcher.abandon()
        return self.has_stopped


class _Forwarder(_DriverOnly, tune.Callback):
    """Translates Tune's callbacks for a `TrialListener`, which hears of everything once.

    A client that died may have brought a result that the next one brings again.
    """

    def __init__(
        self,
        *,
        searcher: StudySearcher,
        listener: TrialListener,
        stopper: _StopWhen,
        pins: Pins,
        has_outcomes: bool,
    ) -> None:
        self._pins = pins
        self._searcher = searcher
        self._has_outcomes = has_outcomes
        self._listener = listener
        self._stopper = stopper
        self._last_heard: dict[str, int] = {}

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **_: Any) -> None:
        self._pins.started(trial)
        if trial.trial_id not in self._last_heard:
            self._last_heard[trial.trial_id] = 0
            self._listener.started(self._searcher.planned(trial.trial_id))

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **_: Any
    ) -> None:
        message = message_of(result)
        if not isinstance(message, Evaluated) or message.is_repeated:
            return
        evaluation = message.evaluation
        if evaluation.number > self._last_heard[trial.trial_id]:
            self._last_heard[trial.trial_id] = evaluation.number
            if not self._has_outcomes:
                evaluation = replace(evaluation, outcomes={})
            self._listener.reported(submission_of(trial.config).trial_id, evaluation)

    def on_trial_complete(
        self, iteration: int, trials: list[Trial], trial: Trial, **_: Any
    ) -> None:
        self._pins.ended(trial)
        if self._stopper.has_stopped:
            # One that was cut short may have given no result.
            return
        message = message_of(trial.last_result)
        reason = None
        if isinstance(message, Failed):
            state, reason = TrialState.FAILED, message.reason
        elif isinstance(message, Stopped) or not message.evaluation.is_last:
            state = TrialState.STOPPED
        else:
            state = TrialState.COMPLETE
        self._listener.ended(submission_of(trial.config).trial_id, state, reason)

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **_: Any) -> None:
        if not self._stopper.has_stopped:
            reason = f"its Tune client died {MAX_CLIENT_RESTARTS + 1} times"
            trial_id = submission_of(trial.config).trial_id
            self._listener.ended(trial_id, TrialState.FAILED, reason)
