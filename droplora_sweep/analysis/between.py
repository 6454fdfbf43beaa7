"""Two sweeps on the same examples: how their answers differ, and how sure that is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .confirmation import Arm, Run, tabulate
from .intervals import Estimate
from .pairing import disagreement, mean_difference, p_value
from .variance_components import FEWEST_SEEDS, components, run_means

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .trials import Scores


@dataclass(frozen=True)
class Contrast:
    """First sweep minus second.

    Attributes:
        difference: With its 95 % interval.
        p_value: Two-sided, for "no difference"; None where it was not tested.
        num_examples: Examples that both were scored on; 0 where not paired.
        num_seeds: Seeds that both were trained with, 1 for a pair of single trials.
    """

    difference: Estimate
    p_value: float | None
    num_examples: int
    num_seeds: int


def paired_trials(first: Scores, second: Scores, benchmarks: Sequence[str]) -> Contrast | None:
    """Two trials on the same examples; None if they were not scored on the same ones.

    The interval covers the choice of examples, not the luck of a seed.
    """
    found = [disagreement(first.get(name, {}), second.get(name, {})) for name in benchmarks]
    pairs = [pair for pair in found if pair is not None]
    if len(pairs) < len(benchmarks):
        return None
    num_examples = sum(pair.num_examples for pair in pairs)
    return Contrast(mean_difference(pairs), p_value(pairs), num_examples, 1)


def paired_runs(
    first: Mapping[int, Scores], second: Mapping[int, Scores], benchmarks: Sequence[str]
) -> Contrast | None:
    """Two arms trained with the same seeds and scored on the same examples.

    The interval covers new seeds and new examples (see `crossed`).

    Args:
        first: Scores of the first sweep's arm by seed.
        second: Of the second's.
        benchmarks: One, or those that a mean is over.

    Returns:
        None with fewer than three shared seeds, or where examples differ or a run has no score.
    """
    seeds = sorted(first.keys() & second.keys())
    if len(seeds) < FEWEST_SEEDS or any(
        first[seed].get(name, {}).keys() != second[seed].get(name, {}).keys()
        for seed in seeds
        for name in benchmarks
    ):
        return None
    arms = (Arm("first", 0.0), Arm("second", 1.0))
    runs = [
        Run(arm, seed, {name: side[seed].get(name, {}) for name in benchmarks})
        for arm, side in zip(arms, (first, second), strict=True)
        for seed in seeds
    ]
    table = tabulate(runs)
    parts = [table.scores[name] for name in benchmarks]
    if not np.isfinite(run_means(parts)).all():
        return None
    found = components(parts)
    difference = found.difference(0, 1)
    return Contrast(
        difference.estimate, difference.p_value, found.num_examples, int(found.num_seeds.max())
    )


def unpaired(first: Estimate, second: Estimate) -> Contrast:
    """Two scores of other examples, taken as independent.

    MOVER (Zou and Donner, Stat. Med. 27, 2008): distances from value to limit add in squares.
    """
    value = first.value - second.value
    below = ((first.value - first.low) ** 2 + (second.high - second.value) ** 2) ** 0.5
    above = ((first.high - first.value) ** 2 + (second.value - second.low) ** 2) ** 0.5
    return Contrast(Estimate(value, max(-1.0, value - below), min(1.0, value + above)), None, 0, 1)
