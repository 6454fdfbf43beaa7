"""Arms that are ahead, as good, or behind; trials that no other beats in everything at once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from droplora_sweep.records.trial import TrialState
from droplora_sweep.spec.metric_names import TRAIN_SECONDS
from droplora_sweep.spec.search import is_maximized, objective_values

from .interim import holm
from .intervals import ROUNDING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from droplora_sweep.records.trial import TrialRecord

    from .evidence import Array
    from .variance_components import Components


@dataclass(frozen=True)
class ParetoPoint:
    """A trial on the front.

    Attributes:
        trial_id: Name of the trial.
        number: Position in the search.
        values: By objective: fractions for scores; else see ``spec.objectives.COSTS``.
    """

    trial_id: str
    number: int
    values: Mapping[str, float]


def pareto_front(
    records: Sequence[TrialRecord], objectives: Sequence[str]
) -> tuple[ParetoPoint, ...]:
    """The complete trials that no other equals or beats in every objective, and beats in one.

    Args:
        records: The trials of a sweep, in any state.
        objectives: ``search.objectives``; a name implies its direction.

    Returns:
        Ordered by the first objective, the best first. Trials without a finite value of each
        objective are left out.
    """
    points = []
    for record in records:
        seconds = math.fsum(one.metrics.get(TRAIN_SECONDS, math.nan) for one in record.evaluations)
        values = objective_values(objectives, record.metrics, seconds)
        if record.state == TrialState.COMPLETE and values is not None:
            named = dict(zip(objectives, values, strict=True))
            points.append(ParetoPoint(record.trial_id, record.number, named))
    front = [one for one in points if not any(_dominates(other, one) for other in points)]
    first = objectives[0]
    sign = -1 if is_maximized(first) else 1
    return tuple(sorted(front, key=lambda one: (sign * one.values[first], one.number)))


def _dominates(one: ParetoPoint, other: ParetoPoint) -> bool:
    gains = [
        (one.values[name] - other.values[name]) * (1 if is_maximized(name) else -1)
        for name in one.values
    ]
    return min(gains) >= 0 and max(gains) > 0


SIGNIFICANCE = 0.05
NUM_DRAWS = 20_000


def best_of(found: Components, rates: Sequence[float], among: Iterable[int]) -> int:
    """The arm with the highest mean; of equal ones the smallest pruning rate."""
    among = list(among)
    highest = max(found.means[index] for index in among)
    equal = [index for index in among if highest - found.means[index] <= ROUNDING]
    return min(equal, key=lambda index: rates[index])


def smallest_near_best(found: Components, rates: Sequence[float], among: Sequence[int]) -> int:
    """The arm with the smallest rate that is within one standard error of the best.

    The rule of Breiman et al. (Classification and Regression Trees, 1984, section 3.4.3), with the
    standard error of the paired difference.
    """
    best = best_of(found, rates, among)
    near = [best]
    for index in among:
        if index != best:
            behind = found.difference(best, index)
            if behind.estimate.value <= behind.standard_error + ROUNDING:
                near.append(index)
    smallest = min(rates[index] for index in near)
    return best_of(found, rates, [index for index in near if rates[index] == smallest])


def closest_rival(
    found: Components, rates: Sequence[float], best: int, among: Iterable[int]
) -> tuple[int, int] | None:
    """The best arm and the next best of another rate that it cannot be told from, if any."""
    apart = distinguishable(found)
    rivals = [
        index
        for index in among
        if rates[index] != rates[best] and (min(index, best), max(index, best)) not in apart
    ]
    return (best, best_of(found, rates, rivals)) if rivals else None


def groups(found: Components) -> list[list[int]]:
    """Runs of neighbours by mean of which no two are distinguished, none within another."""
    apart = distinguishable(found)
    order = [int(index) for index in np.argsort(-found.means.round(9), kind="stable")]
    result: list[list[int]] = []
    for start in range(len(order)):
        end = start + 1
        while end < len(order) and not any(
            (min(one, order[end]), max(one, order[end])) in apart for one in order[start:end]
        ):
            end += 1
        if not result or order[end - 1] not in result[-1]:
            result.append(order[start:end])
    return result


def distinguishable(found: Components) -> set[tuple[int, int]]:
    """Pairs (smaller index first) that differ significantly, for all pairs together (Holm)."""
    num_arms = len(found.means)
    pairs = [(first, second) for second in range(num_arms) for first in range(second)]
    adjusted = holm([found.difference(*pair).p_value for pair in pairs])
    return {pair for pair, value in zip(pairs, adjusted, strict=True) if value <= SIGNIFICANCE}


def probability_best(found: Components) -> Array:
    """Return each arm's share of the draws, from the intervals' distributions, that it wins.

    Like them it covers new seeds, by t distributions, and new examples, by normal ones; the draws
    have a fixed seed.
    """
    generator = np.random.default_rng(0)
    by_seeds = _drawn(found.seed_covariance(), generator)
    df_A = np.maximum(found.num_seeds - 1, 1)
    if found.seeds_are_shared:
        df_A = df_A.min(keepdims=True)
    by_seeds *= np.sqrt(df_A / generator.chisquare(df_A, (NUM_DRAWS, len(df_A))))
    drawn = found.means + by_seeds + _drawn(found.example_covariance, generator)
    is_best = drawn >= drawn.max(axis=1, keepdims=True) - ROUNDING
    # Arms that never disagree are equally likely to be the best.
    result: Array = (is_best / is_best.sum(axis=1, keepdims=True)).mean(axis=0)
    return result


def _drawn(covariance_AA: Array, generator: np.random.Generator) -> Array:
    """`NUM_DRAWS` normal draws; an estimate that is no covariance is taken as the nearest one."""
    values, vectors = np.linalg.eigh(covariance_AA)
    root_AA = vectors * np.sqrt(np.maximum(values, 0))
    result: Array = generator.standard_normal((NUM_DRAWS, len(values))) @ root_AA.T
    return result
