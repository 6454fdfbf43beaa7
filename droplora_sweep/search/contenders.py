"""The pruning rates that a search decides between, and settings with one of them.

A rate is a value of a discrete range or a choice. A continuous range, or one of more values than
there are trials, is divided into strata; 0 is always one of its own, since what is asked for is the
difference to it. Trials in which the rate is not searched, since its ``when`` does not hold, are
one more.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from droplora_sweep.spec import is_active, trial_limit
from droplora_sweep.spec.parameters import Number, Range, is_number
from droplora_sweep.spec.search import RATE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from droplora_sweep.spec import Parameter, Scalar, SweepSpec

FEWEST_STRATA, MOST_STRATA = 4, 6
TRIALS_OF_STRATUM = 4
"""Trials in the mean that a stratum of a continuous range is to get, within those numbers."""


@dataclass(frozen=True)
class Contender:
    """One rate, or a stratum of them.

    Attributes:
        low: Smallest rate; equal to ``high`` where it is one rate.
        high: Largest rate.
        members: The searched rates in it; empty of a continuum.
    """

    low: float
    high: float
    members: tuple[Number, ...] = ()

    @property
    def middle(self) -> float:
        """The rate that stands for it where distances between contenders are measured."""
        return (self.low + self.high) / 2

    def at(self, position: float) -> Number:
        """Return one of its rates, by a position in [0, 1]."""
        if self.members:
            return self.members[min(int(position * len(self.members)), len(self.members) - 1)]
        return self.low + position * (self.high - self.low)

    def distance(self, rate: float) -> float:
        """Return how far a rate is from it; 0 of its own."""
        return max(self.low - rate, rate - self.high, 0.0)


UNSEARCHED = Contender(-1.0, -1.0)
"""Stands for all trials in which the rate is not searched."""


def contenders_of(sweep: SweepSpec) -> tuple[Contender, ...]:
    """Return the rates that the search decides between, ascending."""
    parameter, limit = sweep.search.parameters[RATE], trial_limit(sweep)
    members = _members(parameter)
    if members and (limit is None or len(members) <= limit):
        return tuple(Contender(rate, rate, (rate,)) for rate in members)
    num_strata = MOST_STRATA if limit is None else limit // TRIALS_OF_STRATUM
    num_strata = min(max(num_strata, FEWEST_STRATA), MOST_STRATA)
    if members:
        has_zero = members[0] == 0
        zero, rest = members[:has_zero], members[has_zero:]
        parts = np.array_split(np.arange(len(rest)), min(num_strata - len(zero), len(rest)))
        groups = [tuple(rest[index] for index in part) for part in parts]
        strata = [Contender(part[0], part[-1], part) for part in groups]
    else:
        assert isinstance(parameter, Range), "a choice has members"
        low, high = float(parameter.min), float(parameter.max)
        zero = (0.0,) if low == 0 else ()
        edges = np.linspace(low, high, num_strata - len(zero) + 1)
        strata = [Contender(float(a), float(b)) for a, b in pairwise(edges)]
    return (*(Contender(rate, rate, (rate,)) for rate in zero), *strata)


def contender_of(rate: Scalar | None, among: Sequence[Contender]) -> Contender:
    """Return the contender that a trial's rate belongs to; the lower of two neighbours."""
    if not is_number(rate):
        return UNSEARCHED
    return min(among, key=lambda one: (one.distance(rate), one.high))


def setting(
    sweep: SweepSpec, order: Sequence[str], positions: Mapping[str, float], contender: Contender
) -> dict[str, Scalar] | None:
    """Return raw values with a rate of the contender.

    Args:
        sweep: The space.
        order: Its parameters, each after those that it depends on.
        positions: Of every parameter, in [0, 1].
        contender: Of which the rate is; its position counts within it.

    Returns:
        None where the other values do not allow the rate, or none of them is that the rate is not
        searched.
    """
    values: dict[str, Scalar] = {}
    for path in order:
        if not is_active(path, values, sweep):
            continue
        parameter = sweep.search.parameters[path]
        if path != RATE:
            values[path] = parameter.at(positions[path])
        elif contender is UNSEARCHED:
            return None
        else:
            values[path] = contender.at(positions[path])
    return values if (RATE in values) == (contender is not UNSEARCHED) else None


def position_of(parameter: Parameter, value: Scalar) -> float:
    """Return a position in [0, 1] at which the parameter has the value."""
    members = parameter.members
    if members:
        index = min(range(len(members)), key=lambda one: members[one] != parameter.nearest(value))
        return (index + 0.5) / len(members)
    assert is_number(value), "a continuum has numbers"
    position: float = parameter.position(value)  # type: ignore[union-attr]
    return position


def _members(parameter: Parameter) -> tuple[Number, ...]:
    return tuple(sorted(one for one in parameter.members or () if is_number(one)))
