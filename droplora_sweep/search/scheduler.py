"""When a trial is stopped early: Ray Tune's schedulers, which spare the baselines."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, TrialScheduler

from droplora_sweep.spec import AshaSpec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ray.tune.execution.tune_controller import TuneController
    from ray.tune.experiment import Trial

    from droplora_sweep.spec import SweepSpec

    from .known import KnownTrial

BASELINE = "is_baseline"
"""In a trial's config: what the others are compared with, and so needs its full length."""


@dataclass(frozen=True)
class _Entry:
    """A trial as its rungs know it: by the ledger's id, which outlives Tune's."""

    trial_id: str


class _AshaThatSparesBaselines(AsyncHyperBandScheduler):
    """ASHA whose rungs count the baselines' scores, and never stop a baseline.

    Its rungs know trials by the ledger's ids. So they can be filled with what was reported before
    a sweep went on, and a trial that goes on is the one they know.
    """

    def recall(self, trial_id: str, scores: Mapping[int, float]) -> None:
        """Put an earlier trial's score at each evaluation into the rungs."""
        controller: Any = None
        entry: Any = _Entry(trial_id)
        super().on_trial_add(controller, entry)
        for evaluation, score in sorted(scores.items()):
            result = {self._time_attr: evaluation, self._metric: score}
            super().on_trial_result(controller, entry, result)

    def on_trial_add(self, tune_controller: TuneController, trial: Trial) -> None:
        super().on_trial_add(tune_controller, _entry(trial))

    def on_trial_result(
        self, tune_controller: TuneController, trial: Trial, result: dict[str, Any]
    ) -> str:
        assert self._metric is not None
        if not math.isfinite(result.get(self._metric, 0.0)):
            # In a rung, one infinity would stop all others.
            return TrialScheduler.CONTINUE
        decision: str = super().on_trial_result(tune_controller, _entry(trial), result)
        return TrialScheduler.CONTINUE if trial.config[BASELINE] else decision

    def on_trial_complete(
        self, tune_controller: TuneController, trial: Trial, result: dict[str, Any]
    ) -> None:
        super().on_trial_complete(tune_controller, _entry(trial), result)

    def on_trial_remove(self, tune_controller: TuneController, trial: Trial) -> None:
        super().on_trial_remove(tune_controller, _entry(trial))


def _entry(trial: Trial) -> Any:
    # ASHA reads no more of a trial than its id.
    return _Entry(trial.config["trial_id"])


def make_scheduler(sweep: SweepSpec, known: Iterable[KnownTrial] = ()) -> TrialScheduler:
    """Tune's scheduler for the sweep's stopping rule.

    ``max_t`` lies one past the last evaluation: at the last one itself ASHA would stop a trial
    that is complete.

    Args:
        sweep: Has the rule.
        known: Trials of before; decisions are taken as if they had reported here.
    """
    stopping = sweep.search.stopping
    if not isinstance(stopping, AshaSpec):
        return FIFOScheduler()
    scheduler = _AshaThatSparesBaselines(
        time_attr="evaluation",
        metric=sweep.search.metric,
        mode="max",
        grace_period=min(stopping.grace_evaluations, sweep.evaluation.num_evaluations),
        reduction_factor=stopping.reduction_factor,
        max_t=sweep.evaluation.num_evaluations + 1,
    )
    for trial in known:
        scheduler.recall(trial.name, trial.decided_scores)
    return scheduler
