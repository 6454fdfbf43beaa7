"""Two trials on the same examples: how they differ, and how sure that is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import binomtest

from .intervals import Estimate, mean, paired_difference

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NUM_DRAWS = 50_000


@dataclass(frozen=True)
class Disagreement:
    """Where two trials differ on one benchmark.

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


def disagreement(first: Mapping[str, bool], second: Mapping[str, bool]) -> Disagreement | None:
    """Count where two trials differ; None if they were not scored on the same examples."""
    if not first or first.keys() != second.keys():
        return None
    gained = sum(first[example] and not second[example] for example in first)
    lost = sum(second[example] and not first[example] for example in first)
    return Disagreement(gained, lost, len(first))


def mean_difference(parts: Sequence[Disagreement]) -> Estimate:
    """First minus second, as the unweighted mean over benchmarks."""
    return mean([part.difference for part in parts])


def p_value(parts: Sequence[Disagreement]) -> float:
    """Two-sided p-value of "neither trial is better", over one or more benchmarks.

    If neither is, each disagreement is as likely a gain as a loss. For one benchmark that is
    McNemar's exact test, a binomial test on the disagreements. For the unweighted mean of several,
    the same coin flips are made per benchmark and weighted by 1 / num_examples; their
    distribution is sampled, with a fixed seed, and the observed value is counted as one draw.
    """
    if len(parts) == 1:
        [part] = parts
        num_disagreements = part.num_gained + part.num_lost
        if num_disagreements == 0:
            return 1.0
        return float(binomtest(part.num_gained, num_disagreements, 0.5).pvalue)
    observed = sum((part.num_gained - part.num_lost) / part.num_examples for part in parts)
    generator = np.random.default_rng(0)
    drawn = np.zeros(NUM_DRAWS)
    for part in parts:
        num_disagreements = part.num_gained + part.num_lost
        gained = generator.binomial(num_disagreements, 0.5, NUM_DRAWS)
        drawn += (2 * gained - num_disagreements) / part.num_examples
    num_as_extreme = int(np.sum(np.abs(drawn) >= abs(observed) - 1e-12))
    return (1 + num_as_extreme) / (1 + NUM_DRAWS)
