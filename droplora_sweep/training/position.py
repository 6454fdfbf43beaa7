"""Where a trial is, and all that a group needs to go on from there."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .late_loss import LateLoss
from .reporting import Report, Trained

if TYPE_CHECKING:
    from .optimizer_state import OptimizerState


@dataclass(frozen=True)
class Position:
    """Where a trial is, but for its weights.

    Attributes:
        step: Optimiser steps done.
        trained: What the steps since the last report come to.
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
        """Whether the last report was about this very step."""
        return self.evaluation > 0 and self.trained.num_tokens == 0


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A trial at one moment.

    Attributes:
        position: Steps, evaluations, and what the steps since the last one come to.
        facts: What the method decided while it trained, `Adapted.facts`.
        num_workers: Ranks of the group that saved it.
        optimizer: Weights and AdamW's state; None on all ranks but the first.
    """

    position: Position
    facts: dict[str, Any]
    num_workers: int
    optimizer: OptimizerState | None
