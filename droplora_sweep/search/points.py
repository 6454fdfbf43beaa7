"""Points that do not depend on results: a grid's, and those of a low-discrepancy sequence."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import qmc

from droplora_sweep.spec import active_order, all_settings, is_active

if TYPE_CHECKING:
    from collections.abc import Iterator

    from droplora_sweep.spec import QuasiRandomSpec, Scalar, SweepSpec


def grid_points(sweep: SweepSpec, seed: int) -> Iterator[dict[str, Scalar]]:
    """Raw values of every point once, shuffled: of a part of them too, none is far from all."""
    points = list(all_settings(sweep))
    for index in np.random.default_rng(seed).permutation(len(points)):
        yield points[index]


def quasi_random_point(
    sweep: SweepSpec, sampler: QuasiRandomSpec, index: int, seed: int
) -> dict[str, Scalar]:
    """Raw values of one point of the scrambled Sobol or Halton sequence (scipy.stats.qmc).

    Each parameter has a coordinate of its own, also where it is not active.

    Args:
        sweep: The space.
        sampler: Which sequence.
        index: 0-based position in it.
        seed: Scrambles it; every index of one sequence needs the same.
    """
    order = active_order(sweep)
    if not order:
        return {}
    kind = qmc.Sobol if sampler.sequence == "sobol" else qmc.Halton
    sequence = kind(len(order), scramble=True, rng=seed)
    if index:
        sequence.fast_forward(index)
    values: dict[str, Scalar] = {}
    for path, position in zip(order, sequence.random(1)[0], strict=True):
        if is_active(path, values, sweep):
            values[path] = sweep.search.parameters[path].at(float(position))
    return values
