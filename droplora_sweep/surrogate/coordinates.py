"""Searched values as the coordinates of a model: numbers in [0, 1], categories, or neither.

A rank and an alpha count by their logarithm, and so do a range with ``scale: log`` and numeric
choices that span a factor of 4. The pruning rate has a scale of its own, linear. A parameter whose
``when`` does not hold has no value: NaN.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from droplora_sweep.spec.parameters import Choice, Range, is_number, same
from droplora_sweep.spec.search import RATE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from droplora_sweep.spec import Parameter, Scalar

    Array: TypeAlias = NDArray[np.float64]

WIDE = 4.0
"""Positive numeric choices whose largest is this many times their smallest count by their log."""
BY_RATIO = ("adapter.rank", "adapter.alpha")
"""Fields of which a factor matters, whatever the scale they are searched on."""


@dataclass(frozen=True)
class Coordinate:
    """One searched parameter.

    Attributes:
        path: Its dotted path.
        values: Of a category, its values; empty for a number.
        low: Smallest number, after the logarithm where ``is_log``.
        high: Largest number, alike.
        is_log: True where a factor matters rather than a difference.
    """

    path: str
    values: tuple[Scalar, ...] = ()
    low: float = 0.0
    high: float = 1.0
    is_log: bool = False

    @property
    def is_category(self) -> bool:
        """True where values are equal or not, and no nearer to each other than that."""
        return bool(self.values)

    @property
    def is_rate(self) -> bool:
        """True for the pruning rate."""
        return self.path == RATE

    def at(self, value: Scalar | None) -> float:
        """Return the place of a value: in [0, 1], or a category's index; NaN of none."""
        if value is None:
            return math.nan
        if self.is_category:
            return next(index for index, mine in enumerate(self.values) if same(mine, value))
        assert is_number(value), "a range and numeric choices have numbers"
        number = math.log(value) if self.is_log else float(value)
        return (number - self.low) / (self.high - self.low)


def coordinates_of(parameters: Mapping[str, Parameter]) -> tuple[Coordinate, ...]:
    """Return a coordinate for every parameter that has more than one value."""
    return tuple(_coordinate(path, one) for path, one in parameters.items() if one.size != 1)


def places(coordinates: Sequence[Coordinate], settings: Sequence[Mapping[str, Scalar]]) -> Array:
    """Return the settings' coordinates, of shape (settings, coordinates).

    Args:
        coordinates: Of the space.
        settings: Raw values, as they were drawn; a parameter that is not active has none.
    """
    rows = [[one.at(values.get(one.path)) for one in coordinates] for values in settings]
    return np.array(rows, dtype=np.float64).reshape(len(settings), len(coordinates))


def _coordinate(path: str, parameter: Parameter) -> Coordinate:
    if isinstance(parameter, Choice):
        numbers = [value for value in parameter.values if is_number(value)]
        if len(numbers) < len(parameter.values):
            return Coordinate(path, values=parameter.values)
        low, high = float(min(numbers)), float(max(numbers))
        is_log = path != RATE and low > 0 and (path in BY_RATIO or high >= WIDE * low)
    else:
        assert isinstance(parameter, Range)
        low, high = float(parameter.min), float(parameter.max)
        is_log = parameter.scale == "log" or (low > 0 and path in BY_RATIO)
    if is_log:
        low, high = math.log(low), math.log(high)
    return Coordinate(path, low=low, high=high, is_log=is_log)
