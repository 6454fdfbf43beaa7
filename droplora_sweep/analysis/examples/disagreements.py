"""Examples on which two settings disagree over their seeds, and how sure each disagreement is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import betainc, betaln

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    ExampleScores = Mapping[str, float | None]


@dataclass(frozen=True)
class RightCount:
    """Right answers of one setting to one example.

    Attributes:
        right: Number of runs that were right; of graded scores their sum.
        num_runs: Number of runs, one per seed.
    """

    right: float
    num_runs: int

    @property
    def share(self) -> float:
        """Share of right runs, in [0, 1]."""
        return self.right / self.num_runs


@dataclass(frozen=True)
class Disagreement:
    """One example that two settings answer right in different shares of their runs.

    Attributes:
        example_id: The example.
        first: Right answers of the first setting.
        second: Right answers of the second.
        certainty: Probability, see `probability_higher`, that the setting with the higher share is
            the one that is right more often, over new seeds.
    """

    example_id: str
    first: RightCount
    second: RightCount
    certainty: float


@dataclass(frozen=True)
class Totals:
    """Two settings side by side, over all pairs of runs and all examples.

    Attributes:
        num_examples: Examples that runs of both have a score of.
        num_pairs: Pairs of runs: those of the same seed, or all where no seed is shared.
        only_first: Answers, over pairs and examples, that the first alone had right; of graded
            scores, those it had the better score of.
        only_second: The same of the second.
        both: Answers that both had right.
        neither: Answers that both had wrong.
        num_same: Answers with the same score; of graded scores neither all right nor all wrong.
        difference: Mean score of the first minus that of the second, a fraction.
        is_graded: True where a score is neither 0 nor 1.
    """

    num_examples: int
    num_pairs: int
    only_first: int
    only_second: int
    both: int
    neither: int
    num_same: int
    difference: float
    is_graded: bool

    @property
    def num_answers(self) -> int:
        """Answers that were compared: each example once per pair of runs, missing ones left out."""
        return self.only_first + self.only_second + self.num_same


@dataclass(frozen=True)
class Disagreements:
    """Comparison of two settings example by example.

    Attributes:
        totals: All examples together.
        examples: Those with different shares, the surest first.
    """

    totals: Totals
    examples: tuple[Disagreement, ...]


def disagreements(
    first: Mapping[int, ExampleScores], second: Mapping[int, ExampleScores]
) -> Disagreements | None:
    """Compare two settings on the examples that both have scores of; None without any.

    Runs of the same seed are paired, and runs whose seed the other setting lacks are left out; so
    the difference is the one between confirmed arms. Where no seed is shared, every run of one is
    paired with every run of the other.

    Args:
        first: Each example's score in [0, 1] by seed and example id; None is missing.
        second: The same of the other setting.
    """
    shared = sorted(first.keys() & second.keys())
    pairs = [(seed, seed) for seed in shared] or list(product(sorted(first), sorted(second)))
    ids = sorted(
        {one for scores in first.values() for one in scores}
        & {one for scores in second.values() for one in scores}
    )
    scores_PE = [
        _array([side[pair[index]] for pair in pairs], ids)
        for index, side in enumerate((first, second))
    ]
    is_known_PE = np.isfinite(scores_PE[0]) & np.isfinite(scores_PE[1])
    if not is_known_PE.any():
        return None
    first_PE, second_PE = (np.where(is_known_PE, scores, np.nan) for scores in scores_PE)
    runs = [sorted({pair[index] for pair in pairs}) for index in (0, 1)]
    examples = []
    for one in ids:
        counts = [
            _count([side[seed].get(one) for seed in seeds])
            for side, seeds in zip((first, second), runs, strict=True)
        ]
        if counts[0].num_runs and counts[1].num_runs and counts[0].share != counts[1].share:
            higher = probability_higher(*counts)
            examples.append(Disagreement(one, counts[0], counts[1], max(higher, 1 - higher)))
    examples.sort(key=_by_certainty)
    return Disagreements(_totals(first_PE, second_PE), tuple(examples))


def _array(runs: Sequence[ExampleScores], ids: Sequence[str]) -> np.ndarray:
    rows = [[run.get(one) for one in ids] for run in runs]
    return np.array([[np.nan if score is None else score for score in row] for row in rows])


def _count(scores: Sequence[float | None]) -> RightCount:
    known = [score for score in scores if score is not None]
    return RightCount(math.fsum(known), len(known))


def _by_certainty(one: Disagreement) -> tuple[float, float, str]:
    gap = abs(one.first.share - one.second.share)
    return (-round(one.certainty, 9), -round(gap, 9), one.example_id)


def _totals(first_PE: np.ndarray, second_PE: np.ndarray) -> Totals:
    is_known_PE = np.isfinite(first_PE)
    # The mean over runs of means over examples, as confirmed arms are compared.
    has_any_P, has_any_E = is_known_PE.any(axis=1), is_known_PE.any(axis=0)
    of_pairs = np.nanmean((first_PE - second_PE)[has_any_P], axis=1)
    known = np.concatenate([first_PE[is_known_PE], second_PE[is_known_PE]])
    return Totals(
        num_examples=int(has_any_E.sum()),
        num_pairs=int(has_any_P.sum()),
        only_first=int((first_PE > second_PE).sum()),
        only_second=int((second_PE > first_PE).sum()),
        both=int(((first_PE == 1) & (second_PE == 1)).sum()),
        neither=int(((first_PE == 0) & (second_PE == 0)).sum()),
        num_same=int((first_PE == second_PE).sum()),
        difference=float(of_pairs.mean()),
        is_graded=bool(((known != 0) & (known != 1)).any()),
    )


NUM_NODES = 200


def probability_higher(first: RightCount, second: RightCount) -> float:
    """Return the probability that the first setting's chance of a right answer is the higher one.

    Both chances have Jeffreys' prior, Beta(1/2, 1/2) (Brown, Cai and DasGupta, Statistical Science
    16, 2001), and are independent given the runs; the probability is that of Altham (J. Royal Stat.
    Soc. B 31, 1969)::

        integral over x of beta(x; 1/2 + r2, 1/2 + n2 - r2) P(Beta(1/2 + r1, 1/2 + n1 - r1) > x)

    with r of n runs right. It speaks of this example alone: among many examples, some disagree
    surely by luck. With x = sin(t)^2 the integrand is smooth, and is integrated by Gauss and
    Legendre's rule. Of graded scores r is their sum.
    """
    return _probability_higher(first.right, first.num_runs, second.right, second.num_runs)


@cache
def _probability_higher(right_1: float, num_1: int, right_2: float, num_2: int) -> float:
    nodes, weights = np.polynomial.legendre.leggauss(NUM_NODES)
    angles = (nodes + 1) * math.pi / 4
    a, b = 0.5 + right_2, 0.5 + num_2 - right_2
    log_density = (
        math.log(2)
        + (2 * a - 1) * np.log(np.sin(angles))
        + (2 * b - 1) * np.log(np.cos(angles))
        - betaln(a, b)
    )
    above = 1 - betainc(0.5 + right_1, 0.5 + num_1 - right_1, np.sin(angles) ** 2)
    found = float((weights * np.exp(log_density) * above).sum() * math.pi / 4)
    return min(1.0, max(0.0, found))
