"""How long a sweep takes at a pace that was measured: of one group, or of its first trial."""

from __future__ import annotations

import math
from dataclasses import dataclass


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
