"""Position of a trial: all that a group needs to resume it, the loss's late fall included.

The late fall of the loss tells of too little training. The last part of training is its last epoch,
or its last half where that is shorter: in it every example has been seen equally often before, so
that the steps from one epoch to the next, which come of remembering examples, are not taken for
progress. The slope there, by least squares over the steps, is set in relation to the average slope
from the start:

    late_pace = slope over the last part / (loss at the start - loss in the last part) * distance

It is 1 where the loss falls in a straight line and 0 where it has levelled off. Where it decays
exponentially with one epoch, a pace of 0.5 is that of a time constant of half the training, at the
end of which an eighth of all that the loss can fall is yet to come.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from scipy.stats import t as student

from droplora_sweep.spec.metric_names import LATE_FALL, LATE_FALL_LOW, LATE_PACE

from .reporting import Report, Trained

if TYPE_CHECKING:
    from .engine import OptimizerState


MIN_STEPS = 4
"""A slope over fewer steps has no error to speak of."""
CONFIDENCE = 0.95


@dataclass(frozen=True, kw_only=True)
class Sums:
    """Sums over some steps' losses, for a straight line through them.

    Attributes:
        count: Steps.
        step: Sum of the steps' numbers.
        loss: Sum of their losses, in nats per response token.
        step_step: Sum of the squared numbers.
        step_loss: Sum of the products.
        loss_loss: Sum of the squared losses.
    """

    count: int = 0
    step: float = 0.0
    loss: float = 0.0
    step_step: float = 0.0
    step_loss: float = 0.0
    loss_loss: float = 0.0

    def plus(self, step: int, loss: float) -> Sums:
        """Return it with one step more."""
        return Sums(
            count=self.count + 1,
            step=self.step + step,
            loss=self.loss + loss,
            step_step=self.step_step + step * step,
            step_loss=self.step_loss + step * loss,
            loss_loss=self.loss_loss + loss * loss,
        )

    @property
    def mean_loss(self) -> float:
        """Of at least one step."""
        return self.loss / self.count

    def slope(self) -> tuple[float, float]:
        """The loss's slope per step, and its standard error; of at least three steps."""
        spread = self.step_step - self.step**2 / self.count
        slope = (self.step_loss - self.step * self.loss / self.count) / spread
        residual = self.loss_loss - self.loss**2 / self.count - slope**2 * spread
        return slope, math.sqrt(max(residual, 0.0) / (self.count - 2) / spread)


@dataclass(frozen=True)
class LateLoss:
    """The losses of a trial's first steps and of its last part, as far as it is.

    Attributes:
        start: Of the first steps, half as many as the last part has.
        end: Of the last part.
    """

    start: Sums = field(default_factory=Sums)
    end: Sums = field(default_factory=Sums)

    def plus(self, step: int, loss: float, num_steps: int, epochs: int) -> LateLoss:
        """With the loss of one step (0-based) more, of so many in all."""
        half = _half(num_steps, epochs)
        after = self
        if step < half:
            after = replace(after, start=self.start.plus(step, loss))
        if step >= num_steps - 2 * half:
            after = replace(after, end=self.end.plus(step, loss))
        return after

    def metrics(self, num_steps: int, epochs: int) -> dict[str, float]:
        """``train/late_fall``, ``train/late_fall_low`` and ``train/late_pace`` of a whole trial.

        The fall is what the loss loses over the last part, in nats per response token, and its low
        end that of a 95 % interval.

        Returns:
            {} before the end, of a trial of too few steps, and where some of its losses are not
            known, as after a checkpoint of an older version.
        """
        half = _half(num_steps, epochs)
        if 2 * half < MIN_STEPS or (self.start.count, self.end.count) != (half, 2 * half):
            return {}
        slope, error = self.end.slope()
        quantile = float(student.ppf((1 + CONFIDENCE) / 2, self.end.count - 2))
        average = (self.start.mean_loss - self.end.mean_loss) / (num_steps - 1.5 * half)
        return {
            LATE_FALL: -slope * 2 * half,
            LATE_FALL_LOW: (-slope - quantile * error) * 2 * half,
            # A loss that has not fallen from its start has no pace that it could keep up.
            LATE_PACE: -slope / average if average > 0 else 0.0,
        }


def _half(num_steps: int, epochs: int) -> int:
    """Half the steps of the last part."""
    return min(num_steps // 2, num_steps // epochs) // 2


@dataclass(frozen=True, kw_only=True)
class Position:
    """Position of a trial: all but its weights.

    Attributes:
        step: Optimiser steps done.
        trained: Sums over the steps since the last report.
        evaluation: Evaluations reported.
        report: The last of them; None before the first, and on all ranks but the first.
        late_loss: Losses that tell whether the loss still falls at the end.
    """

    step: int = 0
    trained: Trained = field(default_factory=Trained)
    evaluation: int = 0
    report: Report | None = None
    late_loss: LateLoss = field(default_factory=LateLoss)

    @property
    def place(self) -> tuple[int, int]:
        """Steps done and evaluations reported; the same on all ranks."""
        return self.step, self.evaluation

    @property
    def is_at_report(self) -> bool:
        """True where the last report was about this very step."""
        return self.evaluation > 0 and self.trained.num_tokens == 0


@dataclass(frozen=True, kw_only=True, eq=False)
class Checkpoint:
    """A trial at one moment.

    Attributes:
        position: Steps, evaluations, and what the steps since the last one come to.
        facts: Decisions of the method while it trained, `Adapted.facts`.
        num_workers: Ranks of the group that saved it.
        optimizer: Weights and AdamW's state; None on all ranks but the first.
    """

    position: Position
    facts: dict[str, Any]
    num_workers: int
    optimizer: OptimizerState | None
