"""When a trial is stopped early: Ray Tune's schedulers, which spare the baselines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, TrialScheduler

from droplora_sweep.spec import AshaSpec

if TYPE_CHECKING:
    from ray.tune.execution.tune_controller import TuneController
    from ray.tune.experiment import Trial

    from droplora_sweep.spec import SweepSpec

BASELINE = "is_baseline"
"""In a trial's config: what the others are compared with, and so needs its full length."""


class _AshaThatSparesBaselines(AsyncHyperBandScheduler):
    """ASHA whose rungs count the baselines' scores, and never stop a baseline."""

    def on_trial_result(
        self, tune_controller: TuneController, trial: Trial, result: dict[str, Any]
    ) -> str:
        decision: str = super().on_trial_result(tune_controller, trial, result)
        return TrialScheduler.CONTINUE if trial.config[BASELINE] else decision


def make_scheduler(sweep: SweepSpec) -> TrialScheduler:
    """Tune's scheduler for the sweep's stopping rule.

    ``max_t`` lies one past the last evaluation: at the last one itself ASHA would stop a trial
    that is complete.
    """
    stopping = sweep.search.stopping
    if not isinstance(stopping, AshaSpec):
        return FIFOScheduler()
    return _AshaThatSparesBaselines(
        time_attr="evaluation",
        metric=sweep.search.metric,
        mode="max",
        grace_period=min(stopping.grace_evaluations, sweep.evaluation.num_evaluations),
        reduction_factor=stopping.reduction_factor,
        max_t=sweep.evaluation.num_evaluations + 1,
    )
