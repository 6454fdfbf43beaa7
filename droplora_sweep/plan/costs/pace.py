"""Seconds of a sweep's trials: at a measured pace, and estimated against real."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class Pace:
    """Seconds of one group's parts of a trial.

    Attributes:
        start_s: From the start of a group to its first lease.
        step_s: One optimiser step.
        evaluation_s: One evaluation.
        overhead_s: What else a trial takes: attaching, saving, and what hands it over.
    """

    start_s: float
    step_s: float
    evaluation_s: float
    overhead_s: float

    def trial_seconds(self, num_steps: int, num_evaluations: int) -> float:
        """Of one trial that runs to its end.

        >>> Pace(start_s=9, step_s=0.5, evaluation_s=4, overhead_s=1).trial_seconds(20, 2)
        19.0
        """
        return self.overhead_s + num_steps * self.step_s + num_evaluations * self.evaluation_s

    def all_seconds(
        self, num_steps: int, num_evaluations: int, *, num_trials: int, num_groups: int
    ) -> float:
        """Of trials that all run to their end: groups that have started take them in rounds.

        >>> pace = Pace(start_s=9, step_s=0.5, evaluation_s=4, overhead_s=1)
        >>> pace.all_seconds(20, 2, num_trials=5, num_groups=2)
        57.0
        """
        num_rounds = math.ceil(num_trials / num_groups)
        return num_rounds * self.trial_seconds(num_steps, num_evaluations)


@dataclass(frozen=True)
class Timed:
    """A trial that was trained, to its end or until it was stopped.

    Attributes:
        started_s: When, on any clock that all trials share.
        wall_s: From start to end.
        train_s: Of its optimiser steps.
        evaluation_s: Of its evaluations.
        num_steps: Optimiser steps.
        num_evaluations: Evaluations.
    """

    started_s: float
    wall_s: float
    train_s: float
    evaluation_s: float
    num_steps: int
    num_evaluations: int


@dataclass(frozen=True)
class Hindsight:
    """Trials as the first of them foretold them.

    Attributes:
        num_trials: Trials that were foretold: all but the first.
        estimated_s: Sum of what they were to take.
        real_s: Sum of what they took.
        ratios: Estimated by real seconds: lowest, median and highest of the trials.
    """

    num_trials: int
    estimated_s: float
    real_s: float
    ratios: tuple[float, float, float]


def pace_of(trial: Timed) -> Pace:
    """The pace that a trial had; the start of its group is not part of it."""
    return Pace(
        start_s=0.0,
        step_s=trial.train_s / trial.num_steps,
        evaluation_s=trial.evaluation_s / trial.num_evaluations,
        overhead_s=max(0.0, trial.wall_s - trial.train_s - trial.evaluation_s),
    )


def look_back(trials: Sequence[Timed]) -> Hindsight | None:
    """Foretell every trial by the pace of the first; None where there are not two.

    The first trial waits for its group to start, which is not part of a trial: the least that any
    trial had beside steps and evaluations stands in for its overhead.
    """
    if len(trials) < 2:
        return None
    first, *others = sorted(trials, key=lambda trial: trial.started_s)
    pace = pace_of(first)
    overhead_s = min(pace_of(trial).overhead_s for trial in trials)
    pace = Pace(0.0, pace.step_s, pace.evaluation_s, overhead_s)
    estimates = [pace.trial_seconds(one.num_steps, one.num_evaluations) for one in others]
    ratios = sorted(estimate / one.wall_s for estimate, one in zip(estimates, others, strict=True))
    return Hindsight(
        num_trials=len(others),
        estimated_s=sum(estimates),
        real_s=sum(one.wall_s for one in others),
        ratios=(ratios[0], statistics.median(ratios), ratios[-1]),
    )
