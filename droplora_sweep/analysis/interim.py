"""Looking at growing evidence several times without claiming too much.

Testing at 5 % after every seed finds a difference where there is none far more often than in 5 %
of sweeps. Here the 5 % are spent over the looks: of ``alpha``, the share that O'Brien and
Fleming's boundaries would have used up by then may be used up at each look (Lan and DeMets,
Biometrika 70, 1983), so that an early stop takes overwhelming evidence and the last look is
almost a plain test. The looks are planned in advance as numbers of seeds.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import norm

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .confirmation import Array

GRID_POINTS = 601
GRID_END = 8.0


def spent(share: float, alpha: float) -> float:
    """How much of ``alpha`` is spent when this share of the evidence is in.

    Half of it on each side, by ``2 - 2 Phi(z / sqrt(share))`` where ``Phi(-z)`` is a quarter of
    ``alpha`` (Lan and DeMets 1983).
    """
    return 4 * float(norm.sf(norm.isf(alpha / 4) / np.sqrt(share)))


@lru_cache(maxsize=256)
def nominal_levels(looks: tuple[int, ...], alpha: float) -> tuple[float, ...]:
    """The two-sided p-value that ends the question at each look.

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
        family: How many might have been, if more: the others count as not significant.
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
