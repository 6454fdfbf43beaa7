"""What a confirmed decision is made from: the same seeds and examples in every arm.

An *arm* is one setting (a pruning rate and everything else), a *run* is an arm trained with one
seed, and a run has one score per example. Seeds and examples are shared by the arms, so that what
a seed or an example does to all of them cancels where two arms are compared.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from .trials import MEAN

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from .trials import Scores

    Array: TypeAlias = NDArray[np.float64]


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

    @property
    def subjects(self) -> tuple[str, ...]:
        """The benchmarks, and their mean where there are several."""
        return (*self.scores, MEAN) if len(self.scores) > 1 else tuple(self.scores)

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
