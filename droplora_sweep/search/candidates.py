"""Settings that a draw of ``decide`` picks from, for each rate that it decides between."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from droplora_sweep.spec import active_order
from droplora_sweep.spec.search import RATE

from .contenders import UNSEARCHED, contenders_of, position_of, setting

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from droplora_sweep.spec import Scalar, SweepSpec

    from .contenders import Contender

    Setting = dict[str, Scalar]

NUM_SPREAD = 32
"""Points that are spread over the space."""
NUM_NEAR = 6
"""Points at and near a good setting."""
NEAR = 0.1
"""Standard deviation of those, as a share of a parameter's range."""


class Candidates:
    """Settings of each contender at points of the space, which all contenders share.

    Args:
        sweep: The space.
        generator: Of this draw.

    Attributes:
        contenders: What is decided between; last, where there are any, trials without the rate.
    """

    def __init__(self, sweep: SweepSpec, generator: np.random.Generator) -> None:
        self._sweep = sweep
        self._order = active_order(sweep)
        self._generator = generator
        parameters = sweep.search.parameters
        self.contenders: tuple[Contender, ...] = contenders_of(sweep)
        if parameters[RATE].when:
            self.contenders = (*self.contenders, UNSEARCHED)

    def sequence(self, start: int) -> Iterator[dict[str, float]]:
        """Yield points of the sweep's Sobol sequence, from one on."""
        from scipy.stats import qmc

        sobol = qmc.Sobol(len(self._order), scramble=True, rng=self._sweep.seed)
        if start:
            sobol.fast_forward(start)
        for row in sobol.random(NUM_SPREAD):
            yield dict(zip(self._order, map(float, row), strict=True))

    def settings(self, contender: Contender, points: Iterable[dict[str, float]]) -> list[Setting]:
        """Return different settings of a contender at points where it can be."""
        found = (setting(self._sweep, self._order, point, contender) for point in points)
        different = {tuple(one.items()): one for one in found if one is not None}
        return list(different.values())

    def near(self, values: Mapping[str, Scalar]) -> Iterator[dict[str, float]]:
        """Yield a setting's point, then others near it; anywhere in what it has no value of."""
        parameters = self._sweep.search.parameters
        centre = self._generator.random(len(self._order))
        for index, path in enumerate(self._order):
            if path in values:
                centre[index] = position_of(parameters[path], values[path])
        yield dict(zip(self._order, map(float, centre), strict=True))
        for _ in range(NUM_NEAR - 1):
            moved = centre + NEAR * self._generator.standard_normal(len(centre))
            anew = self._generator.random(len(centre))
            is_new = self._generator.random(len(centre)) < 1 / (1 + len(centre))
            point = np.where(is_new, anew, np.clip(moved, 0.0, 1.0))
            yield dict(zip(self._order, map(float, point), strict=True))
