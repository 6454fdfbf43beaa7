"""Evidence of a decision: trials with their scores, and arms that share seeds and examples.

An *arm* is one setting (a pruning rate and everything else), a *run* is an arm trained with one
seed, and a run has one score per example. Seeds and examples are shared by the arms, so that what
a seed or an example does to all of them cancels where two arms are compared.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from droplora_sweep.records.trial import TrialState
from droplora_sweep.spec.methods import method_of
from droplora_sweep.spec.metric_names import MEAN, score_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from droplora_sweep.records.trial import TrialRecord

    Array: TypeAlias = NDArray[np.float64]


Scores: TypeAlias = "Mapping[str, Mapping[str, float | None]]"
"""Each example's score, by benchmark, then by example id: 0 or 1 where answers are right or wrong,
in [0, 1] where they are graded, None where the score is missing."""


@dataclass(frozen=True)
class Candidate:
    """A complete trial.

    Attributes:
        trial_id: Name of the trial.
        number: Position in the search.
        pruning_rate: Probability of dropping a rank dimension; 0 is the method unpruned.
        method: The method, e.g. ``droplora``.
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
        name for name in names if any(score_name(name) in record.metrics for record in records)
    )
    return scored or names


def subjects_of(names: Sequence[str]) -> tuple[str, ...]:
    """Return what is decided on: benchmarks, and their mean where there are several."""
    return (*names, MEAN) if len(names) > 1 else tuple(names)


def parts_of(subject: str, names: Sequence[str]) -> tuple[str, ...]:
    """Return the benchmarks that a subject is the unweighted mean of."""
    return tuple(names) if subject == MEAN else (subject,)


def candidates(records: Sequence[TrialRecord]) -> list[Candidate]:
    """The trials that may be chosen: those that trained to their full length.

    A trial stopped early was scored after less training than its rivals, on the rising part of
    its curve; its score is a lower bound of what it would have had, and comparing it with full
    scores would favour whatever learns fast. The scheduler stopped it because it was behind, so
    leaving it out costs little.
    """
    names = benchmarks(records)
    return [_candidate(record, names) for record in records if record.state == TrialState.COMPLETE]


def pruning_rate(record: TrialRecord) -> float:
    """The trial's pruning rate, free of the rounding errors of a range's steps.

    Of rates per module it is the largest, so that 0 means that nothing was pruned.
    """
    adapter = record.spec["adapter"]
    rates = (adapter["pruning_rate"], *adapter.get("module_pruning_rates", {}).values())
    return round(max(rates), 9)


def has_rank(record: TrialRecord) -> bool:
    """Return True where the trial has a rank to prune; full fine-tuning has none."""
    return method_of(record.spec["adapter"]["method"]).has_rank


def _candidate(record: TrialRecord, names: Sequence[str]) -> Candidate:
    given = {name: record.metrics.get(score_name(name), math.nan) for name in names}
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


@dataclass(frozen=True)
class Arm:
    """One setting that is trained with several seeds.

    Attributes:
        name: Tells arms apart, e.g. the id of the search-stage trial that had this setting.
        pruning_rate: Probability of dropping a rank dimension; 0 marks the arms without pruning.
        control: Name of the arm with p = 0 and otherwise this setting; None where it has none.
    """

    name: str
    pruning_rate: float
    control: str | None = None


@dataclass(frozen=True)
class Run:
    """One arm trained with one seed.

    Attributes:
        arm: The setting.
        seed: Shared with the other arms.
        scores: By benchmark, then by example id; None where a score is missing.
    """

    arm: Arm
    seed: int
    scores: Scores


@dataclass(frozen=True, eq=False)
class ScoreTable:
    """The runs as arrays.

    Attributes:
        arms: By pruning rate, then by name.
        seeds: Ascending.
        scores: Per benchmark, ``scores_ASE`` of shape (arms, seeds, examples); NaN is missing.
    """

    arms: tuple[Arm, ...]
    seeds: tuple[int, ...]
    scores: Mapping[str, Array]

    def parts(self, subject: str) -> list[Array]:
        """The arrays that ``subject`` is the unweighted mean of."""
        return list(self.scores.values()) if subject == MEAN else [self.scores[subject]]

    def restricted_to(self, arms: Sequence[Arm]) -> ScoreTable:
        """The same table with some of its arms, in the table's order."""
        rows = [index for index, arm in enumerate(self.arms) if arm in arms]
        return ScoreTable(
            arms=tuple(self.arms[row] for row in rows),
            seeds=self.seeds,
            scores={name: scores_ASE[rows] for name, scores_ASE in self.scores.items()},
        )


def tabulate(runs: Iterable[Run]) -> ScoreTable:
    """Put runs side by side; a failed run and an ungraded example leave NaN."""
    runs = list(runs)
    arms = tuple(sorted({run.arm for run in runs}, key=lambda arm: (arm.pruning_rate, arm.name)))
    assert len({arm.name for arm in arms}) == len(arms), "an arm has one pruning rate"
    seeds = tuple(sorted({run.seed for run in runs}))
    assert len({(run.arm, run.seed) for run in runs}) == len(runs), "a run is given once"
    benchmarks = dict.fromkeys(name for run in runs for name in run.scores)
    scores = {}
    for benchmark in benchmarks:
        examples = dict.fromkeys(one for run in runs for one in run.scores.get(benchmark, ()))
        scores_ASE = np.full((len(arms), len(seeds), len(examples)), np.nan)
        for run in runs:
            given = run.scores.get(benchmark, {})
            row = [np.nan if (value := given.get(one)) is None else value for one in examples]
            scores_ASE[arms.index(run.arm), seeds.index(run.seed)] = row
        assert not np.any((scores_ASE < 0) | (scores_ASE > 1)), "a score is a fraction"
        scores[benchmark] = scores_ASE
    return ScoreTable(arms, seeds, scores)
