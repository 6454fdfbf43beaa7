"""Seconds of a sweep's trials at a measured pace, and estimates compared with real trials."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, kw_only=True)
class Pace:
    """Seconds of one group's parts of a trial.

    Attributes:
        start_s: Seconds from the start of a group to its first lease.
        step_s: Seconds of one optimiser step.
        evaluation_s: Seconds of one evaluation.
        overhead_s: Seconds of a trial besides these: attaching, saving, handing over.
    """

    start_s: float
    step_s: float
    evaluation_s: float
    overhead_s: float

    def trial_seconds(self, num_steps: int, num_evaluations: int) -> float:
        """Return the seconds of one trial that runs to its end.

        >>> Pace(start_s=9, step_s=0.5, evaluation_s=4, overhead_s=1).trial_seconds(20, 2)
        19.0
        """
        return self.overhead_s + num_steps * self.step_s + num_evaluations * self.evaluation_s

    def all_seconds(
        self, num_steps: int, num_evaluations: int, *, num_trials: int, num_groups: int
    ) -> float:
        """Return the seconds of trials that run to their end, in rounds over started groups.

        >>> pace = Pace(start_s=9, step_s=0.5, evaluation_s=4, overhead_s=1)
        >>> pace.all_seconds(20, 2, num_trials=5, num_groups=2)
        57.0
        """
        num_rounds = math.ceil(num_trials / num_groups)
        return num_rounds * self.trial_seconds(num_steps, num_evaluations)


@dataclass(frozen=True, kw_only=True)
class Timed:
    """A trial that was trained, to its end or until it was stopped.

    Attributes:
        started_s: Start, in seconds on any clock that all trials share.
        wall_s: Seconds from start to end.
        train_s: Seconds of its optimiser steps.
        evaluation_s: Seconds of its evaluations.
        num_steps: Number of optimiser steps.
        num_evaluations: Number of evaluations.
    """

    started_s: float
    wall_s: float
    train_s: float
    evaluation_s: float
    num_steps: int
    num_evaluations: int


@dataclass(frozen=True, kw_only=True)
class Hindsight:
    """Estimates from the first trial compared with what the others took.

    Attributes:
        num_trials: Trials that were estimated: all but the first.
        estimated_s: Sum of their estimated seconds.
        real_s: Sum of their real seconds.
        ratios: Estimated by real seconds: lowest, median and highest of the trials.
    """

    num_trials: int
    estimated_s: float
    real_s: float
    ratios: tuple[float, float, float]


def pace_of(trial: Timed) -> Pace:
    """Return the pace that a trial had, without the start of its group."""
    return Pace(
        start_s=0.0,
        step_s=trial.train_s / trial.num_steps,
        evaluation_s=trial.evaluation_s / trial.num_evaluations,
        overhead_s=max(0.0, trial.wall_s - trial.train_s - trial.evaluation_s),
    )


def look_back(trials: Sequence[Timed]) -> Hindsight | None:
    """Estimate every trial by the pace of the first; None for fewer than two trials.

    The first trial waits for its group to start, so the least overhead of any trial is taken.
    """
    if len(trials) < 2:
        return None
    first, *others = sorted(trials, key=lambda trial: trial.started_s)
    pace = pace_of(first)
    overhead_s = min(pace_of(trial).overhead_s for trial in trials)
    pace = replace(pace, overhead_s=overhead_s)
    estimates = [pace.trial_seconds(one.num_steps, one.num_evaluations) for one in others]
    ratios = sorted(estimate / one.wall_s for estimate, one in zip(estimates, others, strict=True))
    return Hindsight(
        num_trials=len(others),
        estimated_s=sum(estimates),
        real_s=sum(one.wall_s for one in others),
        ratios=(ratios[0], statistics.median(ratios), ratios[-1]),
    )
