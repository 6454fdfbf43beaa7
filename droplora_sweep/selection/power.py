"""How much more evidence would tell two arms apart, were they as far apart as they look now."""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scipy.stats import norm
from scipy.stats import t as student

if TYPE_CHECKING:
    from .crossed import Components, Difference

POWER = 0.8
MOST_SEEDS = 100


@dataclass(frozen=True)
class Needed:
    """What would show this difference in 80 % of repetitions.

    Attributes:
        num_more_seeds: Seeds to add; None if seeds alone do not suffice.
        num_examples: Examples that would be needed in all where seeds alone do not suffice, with
            the spread over seeds made as small as that over examples; None where they do, or
            where the arms do not differ at all.
    """

    num_more_seeds: int | None
    num_examples: int | None


def needed(found: Components, pair: tuple[int, int], level: float) -> Needed:
    """Estimate from the components what a two-sided test of a pair at ``level`` needs.

    The standard error with S seeds is ``sqrt(seed part / S + example part)``; it must fall to
    ``|difference| / (quantile of 1 - level / 2 + quantile of the power)``.
    """
    difference = found.difference(*pair)
    gap = abs(difference.estimate.value)
    if gap == 0:
        return Needed(None, None)
    num_seeds = int(found.num_seeds[list(pair)].min())

    def suffices(more: int) -> bool:
        return power(found, difference, num_seeds, num_seeds + more, gap, level) >= POWER

    quantiles = float(norm.isf(level / 2) + norm.ppf(POWER))
    share = difference.example_variance * 2 * quantiles**2 / gap**2
    most = MOST_SEEDS
    # Where the examples would do, seeds alone do in the end.
    while share < 1 and not suffices(most):
        most *= 2
    if not suffices(most):
        return Needed(None, math.ceil(found.num_examples * share))
    return Needed(1 + bisect_left(range(1, most + 1), True, key=suffices), None)


def power(
    found: Components,
    difference: Difference,
    num_seeds: int,
    new_num_seeds: int,
    gap: float,
    level: float,
) -> float:
    """Chance that a two-sided test at ``level`` shows a difference of ``gap`` with new seeds.

    Args:
        found: Components of ``num_seeds`` seeds.
        difference: The pair, as found with them.
        num_seeds: Seeds so far.
        new_num_seeds: Seeds in all.
        gap: True difference, positive.
        level: Of the test.
    """
    by_seeds = difference.seed_variance * num_seeds / new_num_seeds
    variance = by_seeds + difference.example_variance
    if variance == 0:
        return 1.0
    df = found.interaction_df * (new_num_seeds - 1) / max(num_seeds - 1, 1)
    total_df = variance**2 / max(by_seeds**2 / df, 1e-300)
    return float(norm.cdf(gap / math.sqrt(variance) - student.isf(level / 2, total_df)))
