"""Runs that a decision takes: fixed seeds, whole comparisons given up, and races of single arms."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pytest

from droplora_sweep.analysis.confirmed import ConfirmedVerdict, Rule, claims_of, recommended
from droplora_sweep.analysis.progress import is_futile
from tests.analysis.worlds import (
    LOOKS,
    World,
    claims_something_false,
    collapsing,
    first_seeds,
    heavy,
    raced,
    subject_of,
)

PLAIN = World(looks=LOOKS)
GAIN_4 = replace(PLAIN, truths=(0.6, 0.6, 0.64, 0.6))
WORLDS = {
    "equal": PLAIN,
    "2 points better": replace(PLAIN, truths=(0.6, 0.6, 0.62, 0.6)),
    "3 points better": replace(PLAIN, truths=(0.6, 0.6, 0.63, 0.6)),
    "4 points better": GAIN_4,
    "4 points better, 1000 examples": replace(GAIN_4, num_examples=1000),
    "8 points better": replace(PLAIN, truths=(0.6, 0.6, 0.68, 0.6)),
    "one rate 25 points worse": replace(PLAIN, truths=(0.6, 0.6, 0.6, 0.35)),
    "one better, one 25 points worse": replace(PLAIN, truths=(0.6, 0.6, 0.64, 0.35)),
    "unequal noise": replace(GAIN_4, seed_points=(0.5, 6.0, 0.5, 0.5)),
    "t2 tails": replace(GAIN_4, tails=heavy),
    "collapsing seeds": replace(GAIN_4, tails=collapsing),
    "20 examples": replace(PLAIN, truths=(0.6, 0.6, 0.8, 0.6), num_examples=20),
    "correlated benchmarks": replace(
        GAIN_4, num_benchmarks=4, num_examples=100, seed_points=(3.0,) * 4
    ),
    "ceiling": replace(PLAIN, truths=(0.95, 0.95, 0.98, 0.95), seed_points=(0.3,) * 4),
}
NEAR = 0.005
"""A rate this close to the best is as right to use, where one is better."""


@dataclass(frozen=True)
class Cost:
    """A rule's results in one world.

    Attributes:
        correct: Share of sweeps with the right decision.
        false_claims: Share of sweeps that say something untrue.
        num_runs: Mean runs.
    """

    correct: float
    false_claims: float
    num_runs: float


def is_correct(claims, dropped, world):
    """Return whether the right rate is used, and called better where it is by the margin."""
    if isinstance(claims, ConfirmedVerdict):
        return False
    gaps_A = np.array(world.truths) - world.truths[0]
    if claims_something_false(claims, gaps_A, world.margin):
        return False
    gap = gaps_A[recommended(claims, dropped)]
    if gaps_A.max() < world.margin:
        return gap >= gaps_A.max() - world.margin
    return claims.verdict is ConfirmedVerdict.BETTER and gap >= gaps_A.max() - NEAR


def by_fixed_seeds(world, parts, num_seeds):
    rule = Rule((num_seeds,), margin=world.margin)
    table = first_seeds(world, parts, num_seeds)
    return claims_of(table, subject_of(parts), world.arms, rule), num_seeds * len(world.arms)


def by_whole_comparisons(world, parts):
    """The rule without racing: all arms get seeds until the comparison is decided or given up."""
    rule = Rule(world.all_looks, margin=world.margin)
    for look in world.all_looks:
        table = first_seeds(world, parts, look)
        claims = claims_of(table, subject_of(parts), world.arms, rule)
        if claims.verdict is not ConfirmedVerdict.CANNOT_TELL or is_futile(claims, rule):
            break
    return claims, look * len(world.arms)


def costs_of(world, num_sweeps, seed=0):
    """Each rule's costs on the same sweeps, by its name, and the fixed seeds that a race equals.

    Returns:
        Costs, and the runs that fixed seeds take for as many right decisions as the race makes:
        interpolated between the numbers that were tried; inf beyond the last.
    """
    generator = np.random.default_rng(seed)
    gaps_A = np.array(world.truths) - world.truths[0]
    rows = {}

    def add(name, claims, dropped, num_runs):
        is_false = claims_something_false(claims, gaps_A, world.margin)
        row = (is_correct(claims, dropped, world), is_false, num_runs)
        rows.setdefault(name, []).append(row)

    for _ in range(num_sweeps):
        parts = world.scores(generator)
        for look in LOOKS:
            claims, num_runs = by_fixed_seeds(world, parts, look)
            add(f"seeds: {look}", claims, (), num_runs)
        claims, num_runs = by_whole_comparisons(world, parts)
        add("whole comparisons", claims, (), num_runs)
        one = raced(world, parts)
        add("race", one.claims, one.dropped, one.num_runs)
    found = {name: Cost(*map(float, np.mean(some, axis=0))) for name, some in rows.items()}
    return found, runs_of_fixed_seeds(found)


def runs_of_fixed_seeds(found):
    wanted = found["race"].correct
    known = [found[f"seeds: {look}"] for look in LOOKS]
    if known[0].correct >= wanted:
        return known[0].num_runs
    for low, high in pairwise(known):
        if high.correct >= wanted:
            share = (wanted - low.correct) / (high.correct - low.correct)
            return low.num_runs + share * (high.num_runs - low.num_runs)
    return np.inf


def line(name, found, equal):
    parts = [f"{label} {one.correct:.0%} {one.num_runs:.1f}" for label, one in found.items()]
    shown = "more than 48" if np.isinf(equal) else f"{equal:.0f}"
    return f"{name}: {'; '.join(parts)}; as right as {shown} runs with fixed seeds"


NO_GAIN = {name for name, world in WORLDS.items() if max(world.truths) == world.truths[0]}
LARGEST_LOSS = 0.1
"""Right decisions that a race may lose against the same looks for all arms: 5 points, and 5 as two
standard errors of a difference between shares of the same 100 sweeps."""


def check(name, num_sweeps):
    found, equal = costs_of(WORLDS[name], num_sweeps)
    print(line(name, found, equal))  # noqa: T201
    whole, one = found["whole comparisons"], found["race"]
    assert one.correct >= whole.correct - LARGEST_LOSS
    assert one.num_runs <= 0.75 * whole.num_runs
    if name in NO_GAIN:
        assert one.num_runs <= 0.5 * whole.num_runs
    return found


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", WORLDS)
def test_a_race_is_as_often_right_with_fewer_runs(name):
    check(name, 100)


def test_where_all_rates_are_equal_a_race_takes_half_the_runs_or_less():
    found, _ = costs_of(WORLDS["equal"], 12)
    assert found["race"].num_runs <= 0.5 * found["whole comparisons"].num_runs
    assert found["race"].correct >= 0.9
