"""What a trained model has to beat: the untrained model, one answer for all, a blind guess."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any, Protocol

from .search_decision import score_estimate
from .trials import MEAN

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .intervals import Estimate
    from .trials import Scores

UNTRAINED = "untrained model"
CHANCE = "chance"


class Reference(Protocol):
    """Scores on one split that need no training, as a ledger has them."""

    @property
    def untrained(self) -> Mapping[str, float]:
        """The base model's score by benchmark."""

    @property
    def most_frequent(self) -> Mapping[str, tuple[str, float]]:
        """By benchmark with a closed set of answers, the most frequent one and its share."""

    @property
    def chance(self) -> Mapping[str, float]:
        """Of a blind guess, by benchmark of multiple choice."""


@dataclass(frozen=True)
class ReferenceRow:
    """One thing to beat on one benchmark, or on the mean.

    Attributes:
        benchmark: Its name, or ``mean``.
        label: What it is: ``untrained model``, ``always "true"``, ``chance``.
        score: A fraction.
        estimate: The same with its 95 % interval, which covers the choice of examples; None for
            what is known without.
    """

    benchmark: str
    label: str
    score: float
    estimate: Estimate | None = None


def reference_rows(
    reference: Reference, untrained: Scores | None, names: Sequence[str]
) -> tuple[ReferenceRow, ...]:
    """What has to be beaten on each benchmark, and on their mean where there are several.

    Args:
        reference: Of one split.
        untrained: The untrained model's score on each of its examples.
        names: The benchmarks; those that it has no score of are left out.
    """
    known = [name for name in names if name in reference.untrained]
    rows = []
    for name in known:
        score = reference.untrained[name]
        rows.append(ReferenceRow(name, UNTRAINED, score, score_estimate(untrained, [name])))
        if name in reference.most_frequent:
            answer, share = reference.most_frequent[name]
            rows.append(ReferenceRow(name, f'always "{answer}"', share))
        if name in reference.chance:
            rows.append(ReferenceRow(name, CHANCE, reference.chance[name]))
    if len(known) > 1:
        rows += _mean_rows(reference, untrained, known)
    return tuple(row for row in rows if math.isfinite(row.score))


def _mean_rows(
    reference: Reference, untrained: Scores | None, names: Sequence[str]
) -> list[ReferenceRow]:
    score = fmean(reference.untrained[name] for name in names)
    rows = [ReferenceRow(MEAN, UNTRAINED, score, score_estimate(untrained, names))]
    if all(name in reference.most_frequent for name in names):
        shares = [reference.most_frequent[name][1] for name in names]
        rows.append(ReferenceRow(MEAN, "always the most frequent answer", fmean(shares)))
    if all(name in reference.chance for name in names):
        rows.append(ReferenceRow(MEAN, CHANCE, fmean(reference.chance[name] for name in names)))
    return rows


def rows_json(rows: Sequence[ReferenceRow], benchmark: str) -> list[dict[str, Any]]:
    """The rows of one benchmark, for other programs."""
    return [
        {
            "label": row.label,
            "score": row.score,
            "low": None if row.estimate is None else row.estimate.low,
            "high": None if row.estimate is None else row.estimate.high,
        }
        for row in rows
        if row.benchmark == benchmark
    ]
