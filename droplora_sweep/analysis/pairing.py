"""Two trials on the same examples: how they differ, and how sure that is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from scipy.stats import binomtest

from .intervals import Estimate, bounded_mean, mean, paired_difference

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NUM_DRAWS = 50_000


@dataclass(frozen=True)
class Disagreement:
    """Where two trials differ on one benchmark whose answers are right or wrong.

    Attributes:
        num_gained: Examples that only the first answered correctly.
        num_lost: Examples that only the second answered correctly.
        num_examples: All examples.
    """

    num_gained: int
    num_lost: int
    num_examples: int

    @property
    def difference(self) -> Estimate:
        """First minus second."""
        return paired_difference(self.num_gained, self.num_lost, self.num_examples)

    def flipped(self, generator: np.random.Generator) -> np.ndarray:
        """`NUM_DRAWS` differences, if each disagreement were as likely a gain as a loss."""
        num_disagreements = self.num_gained + self.num_lost
        gained = generator.binomial(num_disagreements, 0.5, NUM_DRAWS)
        return (2 * gained - num_disagreements) / self.num_examples


@dataclass(frozen=True)
class GradedDifference:
    """How two trials differ on one benchmark whose answers are graded.

    Attributes:
        differences: First minus second, in [-1, 1], one per example.
    """

    differences: tuple[float, ...]

    @property
    def num_examples(self) -> int:
        """All examples."""
        return len(self.differences)

    @property
    def difference(self) -> Estimate:
        """First minus second."""
        return bounded_mean(self.differences, -1.0, 1.0)

    def flipped(self, generator: np.random.Generator) -> np.ndarray:
        """`NUM_DRAWS` differences, if each example's were as likely to be the other way round."""
        sizes, counts = np.unique(np.round(np.abs(self.differences), 9), return_counts=True)
        drawn = np.zeros(NUM_DRAWS)
        for size, count in zip(sizes, counts, strict=True):
            drawn += size * (2 * generator.binomial(count, 0.5, NUM_DRAWS) - count)
        return drawn / len(self.differences)


Pairing: TypeAlias = Disagreement | GradedDifference


def disagreement(
    first: Mapping[str, float | None], second: Mapping[str, float | None]
) -> Pairing | None:
    """Where two trials differ; None if they were not scored on the same examples.

    An example whose score is missing in one of them is left out.
    """
    if first.keys() != second.keys():
        return None
    pairs = [
        (one, other)
        for example, one in first.items()
        if one is not None and (other := second[example]) is not None
    ]
    if not pairs:
        return None
    if any(score not in (0.0, 1.0) for pair in pairs for score in pair):
        return GradedDifference(tuple(one - other for one, other in pairs))
    gained = sum(one > other for one, other in pairs)
    lost = sum(other > one for one, other in pairs)
    return Disagreement(gained, lost, len(pairs))


def mean_difference(parts: Sequence[Pairing]) -> Estimate:
    """First minus second, as the unweighted mean over benchmarks."""
    return mean([part.difference for part in parts])


def p_value(parts: Sequence[Pairing]) -> float:
    """Two-sided p-value of "neither trial is better", over one or more benchmarks.

    If neither is, each difference is as likely a gain as a loss. For one benchmark of right and
    wrong answers that is McNemar's exact test, a binomial test on the disagreements. For graded
    answers, and for the unweighted mean of several benchmarks, the same coin flips are made and
    weighted by their sizes and 1 / num_examples; their distribution is sampled, with a fixed seed,
    and the observed value is counted as one draw.
    """
    part = parts[0]
    if len(parts) == 1 and isinstance(part, Disagreement):
        num_disagreements = part.num_gained + part.num_lost
        if num_disagreements == 0:
            return 1.0
        return float(binomtest(part.num_gained, num_disagreements, 0.5).pvalue)
    observed = sum(part.difference.value for part in parts)
    generator = np.random.default_rng(0)
    drawn = np.sum([part.flipped(generator) for part in parts], axis=0)
    num_as_extreme = int(np.sum(np.abs(drawn) >= abs(observed) - 1e-12))
    return (1 + num_as_extreme) / (1 + NUM_DRAWS)
