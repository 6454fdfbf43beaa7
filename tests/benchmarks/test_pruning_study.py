"""The study's intervals against scipy's, its choice of learning rates, and one of its trials."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import ttest_rel

from droplora_sweep.spec import load_sweep_file
from droplora_sweep.tasks.registry import BUILTIN_DATA_SEED
from droplora_sweep.training.runner import TrialRunner
from tests.benchmarks.pruning_study import (
    CHOOSING_SEEDS,
    FIXED,
    QUICKSTART,
    RATES,
    SEEDS,
    Result,
    best_learning_rates,
    effect,
    read,
    run,
    shown,
)


def results(seeds, learning_rate, p, accuracies):
    return [
        Result(
            benchmark="noisy",
            seed=seed,
            learning_rate=learning_rate,
            pruning_rate=p,
            accuracy=accuracy,
        )
        for seed, accuracy in zip(seeds, accuracies, strict=True)
    ]


def test_a_difference_is_paired_by_seed_with_students_interval():
    generator = np.random.default_rng(0)
    base = generator.normal(0.6, 0.1, len(SEEDS))
    pruned = base + generator.normal(0.05, 0.02, len(SEEDS))
    known = results(SEEDS, 0.01, 0.0, base) + results(reversed(SEEDS), 0.02, 0.4, pruned[::-1])
    other = results(SEEDS, 0.01, 0.4, base)
    found = effect(known + other, {0.0: 0.01, 0.4: 0.02}, 0.4)
    interval = ttest_rel(pruned, base).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    assert found.mean == pytest.approx(pruned.mean())
    assert found.num_seeds == len(SEEDS)


def test_a_rates_learning_rate_is_chosen_on_seeds_that_are_not_counted():
    assert not set(SEEDS) & set(CHOOSING_SEEDS)
    own = (BUILTIN_DATA_SEED, load_sweep_file(QUICKSTART).sweep.seed)
    assert not {*SEEDS, *CHOOSING_SEEDS} & set(own), "the quickstart's own"
    known = [
        *results(CHOOSING_SEEDS, 0.01, 0.0, [0.5, 0.6, 0.7]),
        *results(CHOOSING_SEEDS, 0.02, 0.0, [0.6, 0.7, 0.8]),
        *results(CHOOSING_SEEDS, 0.01, 0.4, [0.5, 0.6, 0.7]),
        # Better, but on seeds that are counted.
        *results(SEEDS, 0.02, 0.4, [0.9] * len(SEEDS)),
    ]
    assert best_learning_rates(known) == {0.0: 0.02, 0.4: 0.01}


def test_the_table_says_how_many_seeds_it_has():
    known = results(SEEDS, 0.01, 0.0, [0.5] * 20) + results(SEEDS[:2], 0.01, 0.4, [0.5, 0.6])
    assert shown(known).splitlines() == [
        "noisy, at one learning rate",
        "  p = 0, learning rate 0.01: 50.0%, +0.0 points [+0.0, +0.0] (20 seeds)",
        "  p = 0.4, learning rate 0.01: 55.0%, +5.0 points [-58.5, +68.5] (2 seeds)",
    ]


def test_the_guide_has_the_numbers_of_the_records():
    records = read(Path(__file__).with_name("pruning_study.jsonl"))
    guide = Path(__file__).parents[2] / "search_spaces" / "README.md"
    lines = guide.read_text(encoding="utf-8").splitlines()
    for name in ("noisy", "math"):
        own = [one for one in records if one.benchmark == name]
        # So that the table is that of each rate at its own best, too.
        assert best_learning_rates(own) == FIXED
        counted = [one for one in own if one.seed in SEEDS]
        [line] = [line for line in lines if line.startswith(f"| `builtin_{name}` |")]
        base, *others = [cell.strip() for cell in line.split("|")[2:-1]]
        effects = [effect(counted, FIXED, p) for p in RATES]
        assert {one.num_seeds for one in effects} == {len(SEEDS)}
        assert base == f"{100 * effects[0].mean:.1f} %"
        assert others == [
            f"{100 * one.difference:+.1f} [{100 * one.low:+.1f}, {100 * one.high:+.1f}]"
            for one in effects[1:]
        ]


@pytest.mark.slow
def test_a_trial_is_scored_on_every_benchmark_of_the_quickstart():
    sweep = load_sweep_file(QUICKSTART).sweep
    found = run(TrialRunner(sweep.model, threads=1), SEEDS[0], 0.01, 0.4)
    names = [name.removeprefix("builtin_") for name in sweep.task.benchmarks]
    assert [one.benchmark for one in found] == names
    assert all(0 < one.accuracy < 1 for one in found)
