"""Which trials no other beats in everything at once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from droplora_sweep.spec.objectives import SECONDS, is_maximized, objective_values

from .trials import TrialRecord

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Evaluation(Protocol):
    """One evaluation of a trial."""

    @property
    def metrics(self) -> Mapping[str, float]:
        """By name; ``train_seconds`` since the evaluation before."""


class EvaluatedRecord(TrialRecord, Protocol):
    """A trial of a ledger with its evaluations."""

    @property
    def reports(self) -> Sequence[Evaluation]:
        """In order."""


@dataclass(frozen=True)
class ParetoPoint:
    """A trial on the front.

    Attributes:
        trial_id: Name of the trial.
        number: Position in the search.
        values: By objective: fractions for scores; else see ``spec.objectives.COSTS``.
    """

    trial_id: str
    number: int
    values: Mapping[str, float]


def pareto_front(
    records: Sequence[EvaluatedRecord], objectives: Sequence[str]
) -> tuple[ParetoPoint, ...]:
    """The complete trials that no other equals or beats in every objective, and beats in one.

    Args:
        records: The trials of a sweep, in any state.
        objectives: ``search.objectives``; a name implies its direction.

    Returns:
        Ordered by the first objective, the best first. Trials without a finite value of each
        objective are left out.
    """
    points = []
    for record in records:
        seconds = math.fsum(one.metrics.get(SECONDS, math.nan) for one in record.reports)
        values = objective_values(objectives, record.metrics, seconds)
        if record.state == "COMPLETE" and values is not None:
            named = dict(zip(objectives, values, strict=True))
            points.append(ParetoPoint(record.trial_id, record.number, named))
    front = [one for one in points if not any(_dominates(other, one) for other in points)]
    first = objectives[0]
    sign = -1 if is_maximized(first) else 1
    return tuple(sorted(front, key=lambda one: (sign * one.values[first], one.number)))


def _dominates(one: ParetoPoint, other: ParetoPoint) -> bool:
    gains = [
        (one.values[name] - other.values[name]) * (1 if is_maximized(name) else -1)
        for name in one.values
    ]
    return min(gains) >= 0 and max(gains) > 0
