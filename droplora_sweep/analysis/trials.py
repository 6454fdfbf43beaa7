"""What a decision is made from: trials with their scores.

A record is anything with the attributes of `TrialRecord` below; the ledger's records have them.
This package imports neither the ledger nor anything that trains.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MEAN = "mean"
"""Name of the unweighted mean over a task's benchmarks, as in the paper's tables."""

Scores: TypeAlias = "Mapping[str, Mapping[str, float | None]]"
"""Each example's score, by benchmark, then by example id: 0 or 1 where answers are right or wrong,
in [0, 1] where they are graded, None where the score is missing."""


class TrialRecord(Protocol):
    """A trial of a ledger."""

    @property
    def trial_id(self) -> str:
        """Name of the trial."""

    @property
    def number(self) -> int:
        """Position in the search."""

    @property
    def state(self) -> str:
        """``RUNNING``, ``COMPLETE``, ``STOPPED`` or ``FAILED``."""

    @property
    def spec(self) -> Mapping[str, Any]:
        """The ``TrialSpec``, as JSON values."""

    @property
    def metrics(self) -> Mapping[str, float]:
        """Metrics of the last evaluation, ``val/<benchmark>`` among them."""


@dataclass(frozen=True)
class Candidate:
    """A complete trial.

    Attributes:
        trial_id: Name of the trial.
        number: Position in the search.
        pruning_rate: Probability of dropping a rank dimension; 0 is the method unpruned.
        method: What is trained, e.g. ``droplora``.
        rank: Rank of the adapter.
        scores: Finite validation scores by benchmark, and their mean where none is missing.
    """

    trial_id: str
    number: int
    pruning_rate: float
    method: str
    rank: int
    scores: Mapping[str, float]


def benchmarks(records: Sequence[TrialRecord]) -> tuple[str, ...]:
    """The benchmarks of the trials' task, in its order.

    One that no trial has a score of is left out where others have one: it is tested alone.
    """
    names = tuple(
        dict.fromkeys(name for record in records for name in record.spec["task"]["benchmarks"])
    )
    scored = tuple(
        name for name in names if any(f"val/{name}" in record.metrics for record in records)
    )
    return scored or names


def candidates(records: Sequence[TrialRecord]) -> list[Candidate]:
    """The trials that may be chosen: those that trained to their full length.

    A trial stopped early was scored after less training than its rivals, on the rising part of
    its curve; its score is a lower bound of what it would have had, and comparing it with full
    scores would favour whatever learns fast. The scheduler stopped it because it was behind, so
    leaving it out costs little.
    """
    names = benchmarks(records)
    return [_candidate(record, names) for record in records if record.state == "COMPLETE"]


def pruning_rate(record: TrialRecord) -> float:
    """The trial's pruning rate, free of the rounding errors of a range's steps.

    Of rates per module it is the largest, so that 0 means that nothing was pruned.
    """
    adapter = record.spec["adapter"]
    rates = (adapter["pruning_rate"], *adapter.get("module_pruning_rates", {}).values())
    return round(max(rates), 9)


def has_rank(record: TrialRecord) -> bool:
    """Whether the trial has a rank to prune; full fine-tuning has none."""
    return bool(record.spec["adapter"]["method"] != "full")


def _candidate(record: TrialRecord, names: Sequence[str]) -> Candidate:
    given = {name: record.metrics.get(f"val/{name}", math.nan) for name in names}
    scores = {name: score for name, score in given.items() if math.isfinite(score)}
    if len(scores) == len(names):
        scores[MEAN] = math.fsum(scores.values()) / len(names)
    return Candidate(
        trial_id=record.trial_id,
        number=record.number,
        pruning_rate=pruning_rate(record),
        method=record.spec["adapter"]["method"],
        rank=record.spec["adapter"]["rank"],
        scores=scores,
    )
