"""Interim analyses: looking at growing evidence several times, and what more evidence would show.

Testing at 5 % after every seed finds a difference where there is none far more often than in 5 %
of sweeps. Here the 5 % are spent over the looks: of ``alpha``, the share that O'Brien and
Fleming's boundaries would have used up by then may be used up at each look (Lan and DeMets,
Biometrika 70, 1983), so that an early stop takes overwhelming evidence and the last look is
almost a plain test. The looks are planned in advance as numbers of seeds.

The gap that was found is no guide to how much more evidence would show it: a pair that is open
looks further apart than it is as often as closer, and a number of seeds worked out from it comes
true far too seldom. What can be told in advance is the smallest true gap that more seeds show.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import gammaln, ndtr, ndtri, stdtrit
from scipy.stats import chi2, norm

from .variance_components import combined_df

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .evidence import Array
    from .variance_components import Difference


GRID_POINTS = 601
GRID_END = 8.0


def spent(share: float, alpha: float) -> float:
    """Return the part of ``alpha`` that is spent when this share of the evidence is in.

    Half of it on each side, by ``2 - 2 Phi(z / sqrt(share))`` where ``Phi(-z)`` is a quarter of
    ``alpha`` (Lan and DeMets 1983).
    """
    return 4 * float(norm.sf(norm.isf(alpha / 4) / np.sqrt(share)))


@lru_cache(maxsize=256)
def nominal_levels(looks: tuple[int, ...], alpha: float) -> tuple[float, ...]:
    """The two-sided p-value that ends the comparison at each look.

    The statistics of the looks are jointly normal with correlation ``sqrt(n_j / n_k)``; their
    density without an earlier stop is carried from look to look on a grid (Armitage, McPherson
    and Rowe, J. R. Stat. Soc. A 132, 1969). The levels are applied to p-values of t (Jennison
    and Turnbull, Group Sequential Methods, 2000, section 4.4). Effects of examples, which all
    looks share, only raise the correlation: the true chance of a false stop is then lower.

    Args:
        looks: Seeds at each look, ascending; the last is the most that can be paid for.
        alpha: Chance of a false stop over all looks.
    """
    assert looks, "there is a look"
    assert sorted(set(looks)) == list(looks), "looks are ascending"
    shares = [look / looks[-1] for look in looks]
    grid = np.linspace(-GRID_END, GRID_END, GRID_POINTS)
    step = grid[1] - grid[0]
    levels: list[float] = []
    # `density` is over the sum of evidence at the last look, in units of its final spread.
    density = np.array([])
    last_share, last_spent = 0.0, 0.0
    for share in shares:
        increment = spent(share, alpha) - last_spent
        if last_share == 0:
            boundary = float(norm.isf(increment / 2))
            density = _normal_density(grid, share)
        else:
            kernel = _normal_density(grid[:, None] - grid[None, :], share - last_share)
            arrived = kernel @ density * step
            boundary = _boundary(grid, arrived, share, increment)
            density = arrived
        levels.append(2 * float(norm.sf(boundary)))
        density = np.where(np.abs(grid) < boundary * np.sqrt(share), density, 0.0)
        last_share, last_spent = share, last_spent + increment
    return tuple(levels)


def holm(p_values: Sequence[float], family: int = 0) -> list[float]:
    """P-values adjusted for their number (Holm, Scand. J. Stat. 6, 1979).

    The chance that any true "no difference" gets an adjusted p-value of at most alpha is at most
    alpha, whatever the dependence. Dunnett's constant for 4 rates against p = 0 is 2.44, Holm's
    first 2.50: too little to assume equal variances and correlations for.

    Args:
        p_values: Of the differences that were tested.
        family: Number that might have been, if more: the others count as not significant.
    """
    count = max(len(p_values), family)
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    adjusted = [1.0] * len(p_values)
    running = 0.0
    for position, index in enumerate(order):
        running = max(running, min(1.0, (count - position) * p_values[index]))
        adjusted[index] = running
    return adjusted


def _normal_density(values: Array, variance: float) -> Array:
    density: Array = np.exp(-(values**2) / (2 * variance)) / np.sqrt(2 * np.pi * variance)
    return density


def _boundary(grid: Array, density: Array, share: float, increment: float) -> float:
    """The z beyond which, on both sides, ``increment`` of the density lies."""
    upper = grid >= 0
    points, values = grid[upper], density[upper]
    step = points[1] - points[0]
    pieces = (values[1:] + values[:-1]) / 2 * step
    beyond = 2 * np.append(np.cumsum(pieces[::-1])[::-1], 0.0)
    # `beyond` falls along the grid; np.interp wants ascending abscissae.
    return float(np.interp(increment, beyond[::-1], points[::-1])) / float(np.sqrt(share))


POWER = 0.8
LARGEST_GAP = 1.0
NUM_NODES = 120
NUM_HALVINGS = 30
MOST_DF = 1e6
UNLIKELY = 0.1


@dataclass(frozen=True)
class Detectable:
    """The smallest true gap that would be shown in 80 % of repetitions.

    Attributes:
        num_more_seeds: Seeds to add: as many as there are.
        gap: With them; None where even the largest gap that scores can have would not be shown.
        least_gap: With seeds without end, on the same examples.
        num_examples: Examples so far, over all benchmarks.
    """

    num_more_seeds: int
    gap: float | None
    least_gap: float
    num_examples: int


def detectable(difference: Difference, num_examples: int, level: float) -> Detectable:
    """Return what twice the seeds would show of a pair, by a two-sided test at ``level``."""
    outlook = _Outlook.of(difference, 2 * difference.num_seeds, level)
    gap = None
    if outlook.power(LARGEST_GAP) >= POWER:
        low, gap = 0.0, LARGEST_GAP
        for _ in range(NUM_HALVINGS):
            middle = (low + gap) / 2
            if outlook.power(middle) >= POWER:
                gap = middle
            else:
                low = middle
    quantiles = float(ndtri(1 - level / 2) + ndtri(POWER))
    least_gap = min(LARGEST_GAP, quantiles * math.sqrt(difference.example_variance))
    return Detectable(difference.num_seeds, gap, least_gap, num_examples)


def power(difference: Difference, num_seeds: int, gap: float, level: float) -> float:
    """Chance that a two-sided test at ``level`` shows a true gap with ``num_seeds`` seeds in all.

    It is the mean over what the variance over seeds may be, given the few that it was estimated
    from: where they are alike by luck, a power for that variance would be promised too easily.

    Args:
        difference: The pair, as found so far.
        num_seeds: Seeds in all, those so far included.
        gap: True difference, positive.
        level: Of the test.
    """
    return _Outlook.of(difference, num_seeds, level).power(gap)


@dataclass(frozen=True, eq=False)
class _Outlook:
    """A test with other seeds: its standard errors that are possible, and how likely each is."""

    errors: Array
    critical: Array
    weights: Array

    @classmethod
    def of(cls, difference: Difference, num_seeds: int, level: float) -> _Outlook:
        if not math.isfinite(difference.standard_error):
            return cls(np.array([math.inf]), np.array([math.inf]), np.ones(1))
        chi_squares_N, weights_N = chi_squares(round(difference.seed_df, 2))
        ratio_N = difference.seed_df / chi_squares_N
        by_seeds_N = difference.seed_variance * ratio_N * difference.num_seeds / num_seeds
        seed_df = difference.seed_df * (num_seeds - 1) / max(difference.num_seeds - 1, 1)
        dfs_N = combined_df(by_seeds_N, seed_df, difference.example_variance)
        errors_N = np.sqrt(by_seeds_N + difference.example_variance)
        return cls(errors_N, stdtrit(np.minimum(dfs_N, MOST_DF), 1 - level / 2), weights_N)

    def power(self, gap: float) -> float:
        return float(self.weights @ ndtr(gap / self.errors - self.critical))


@lru_cache(maxsize=64)
def chi_squares(df: float) -> tuple[Array, Array]:
    """Values of chi-square and their weights, for means over it: trapezoids over its logarithm.

    The smallest tenth is left out: it stands for variances ten times the one that was found, and
    more, which the noise of single answers would mostly have shown. With it a gap is shown in 83
    to 91 % of simulated sweeps, without it in 76 to 87 %.
    """
    lowest, highest = math.log(chi2.ppf(UNLIKELY, df)), math.log(chi2.isf(1e-12, df))
    values_N = np.exp(np.linspace(lowest, highest, NUM_NODES))
    logs_N = df / 2 * np.log(values_N / 2) - values_N / 2 - gammaln(df / 2)
    weights_N = np.exp(logs_N)
    return values_N, weights_N / weights_N.sum()
