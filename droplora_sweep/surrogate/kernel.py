"""Covariance of the score between settings: terms for each parameter, and for rate and each other.

For settings x and x' (Duvenaud et al., Additive Gaussian Processes, NeurIPS 2011):

    k(x, x') = c^2 + sum_d s_d^2 k_d(x_d, x'_d) + sum_{d != p} t_d^2 k_p(x_p, x'_p) k_d(x_d, x'_d)

The first sum lets few trials tell what each parameter does; the second, over pairs of the pruning
rate p and another parameter, holds what the first cannot: a learning rate that is best with one
rate and not with another. Where no rate is searched, it is over all pairs. Two numbers t are
fitted, one for all pairs with a category and one for all others: a method may have a best rate of
its own where nothing else depends on the rate. For a number, k_d is Matern's with smoothness 5/2
(Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006, eq. 4.17); for a category it
is 1 where both are equal, else 0. Two settings in which a parameter is not active are alike in it;
one with and one without it have nothing in common there.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .coordinates import Array, Coordinate

CONSTANT = 2.0
"""Standard deviation of the mean level around the trials' own, in their spreads."""


@dataclass(frozen=True, eq=False)
class Hyperparameters:
    """The fitted values, in units of the scores' spread; lengths are shares of a parameter's range.

    Attributes:
        amplitudes: Standard deviation of each parameter's own term.
        interaction: Standard deviation of the term of each pair of numbers.
        category_interaction: The same of each pair with a category.
        rate_length: Length scale of the pruning rate.
        other_length: Length scale of all other numbers.
        noise: Standard deviation of what another seed would change.
    """

    amplitudes: Array
    interaction: float
    category_interaction: float
    rate_length: float
    other_length: float
    noise: float

    @staticmethod
    def of(logs: Array) -> Hyperparameters:
        """Return them from their logarithms, in the order of the attributes."""
        values = np.exp(logs)
        return Hyperparameters(values[:-5], *map(float, values[-5:]))


class Gaps:
    """Distances between two sets of settings, by coordinate, from which covariances are made.

    Args:
        coordinates: Of the space.
        first: Settings, of shape (settings, coordinates).
        second: Others.
    """

    def __init__(self, coordinates: Sequence[Coordinate], first: Array, second: Array) -> None:
        self._coordinates = coordinates
        self._shape = len(first), len(second)
        rates = [index for index, one in enumerate(coordinates) if one.is_rate]
        self._pairs = [
            pair
            for pair in combinations(range(len(coordinates)), 2)
            if not rates or rates[0] in pair
        ]
        self._gaps = [
            _gap(one, first[:, index], second[:, index]) for index, one in enumerate(coordinates)
        ]

    def covariance(self, values: Hyperparameters) -> Array:
        """Return the covariance of the scores' expectations."""
        factors = [_matern(one) for one in self._scaled(values)]
        covariance = np.full(self._shape, CONSTANT**2)
        for amplitude, factor in zip(values.amplitudes, factors, strict=True):
            covariance += amplitude**2 * factor
        for first, second in self._pairs:
            amplitude = self._interaction(values, first, second)
            covariance += amplitude**2 * factors[first] * factors[second]
        return covariance

    def gradients(self, values: Hyperparameters) -> tuple[Array, list[Array]]:
        """Return the covariance, and its derivatives by the logarithms of all but the noise."""
        scaled = self._scaled(values)
        factors = [_matern(one) for one in scaled]
        own = [
            amplitude**2 * factor
            for amplitude, factor in zip(values.amplitudes, factors, strict=True)
        ]
        # The part of the covariance that a coordinate's factor is in.
        parts = [term.copy() for term in own]
        joint, joint_of_categories = np.zeros(self._shape), np.zeros(self._shape)
        for first, second in self._pairs:
            amplitude = self._interaction(values, first, second)
            term = amplitude**2 * factors[first] * factors[second]
            both = joint_of_categories if self._has_category(first, second) else joint
            both += term
            parts[first] += term
            parts[second] += term
        by_rate_length, by_other_length = np.zeros(self._shape), np.zeros(self._shape)
        for one, part, gap in zip(self._coordinates, parts, scaled, strict=True):
            if not one.is_category:
                by_length = by_rate_length if one.is_rate else by_other_length
                by_length += part * _slope(gap)
        covariance = CONSTANT**2 + joint + joint_of_categories
        for term in own:
            covariance += term
        by_amplitude = [2 * term for term in (*own, joint, joint_of_categories)]
        return covariance, [*by_amplitude, by_rate_length, by_other_length]

    def _has_category(self, *pair: int) -> bool:
        return any(self._coordinates[one].is_category for one in pair)

    def _interaction(self, values: Hyperparameters, *pair: int) -> float:
        return values.category_interaction if self._has_category(*pair) else values.interaction

    def _scaled(self, values: Hyperparameters) -> list[Array]:
        lengths = [
            values.rate_length if one.is_rate else values.other_length for one in self._coordinates
        ]
        return [
            gap * (np.sqrt(5) / length) for gap, length in zip(self._gaps, lengths, strict=True)
        ]


def _gap(coordinate: Coordinate, first: Array, second: Array) -> Array:
    """Distances; infinite between two categories, and between a value and none."""
    gap = np.abs(first[:, None] - second)
    both_absent = np.isnan(first)[:, None] & np.isnan(second)
    is_far = np.isnan(gap) | (gap > 0 if coordinate.is_category else False)
    return np.where(both_absent, 0.0, np.where(is_far, np.inf, gap))


def _matern(scaled: Array) -> Array:
    # Beyond this it is 0 in double precision, and infinity times 0 is not.
    scaled = np.minimum(scaled, 700.0)
    result: Array = (1 + scaled + scaled**2 / 3) * np.exp(-scaled)
    return result


def _slope(scaled: Array) -> Array:
    """Derivative of `_matern` by the logarithm of the length, relative to the function itself."""
    near = np.where(np.isfinite(scaled), scaled, 0.0)
    result: Array = near**2 * (1 + near) / (3 + 3 * near + near**2)
    return result
