"""Progress of a confirmation, computed from its runs alone."""

from dataclasses import replace

import numpy as np
import pytest

from droplora_sweep.analysis.comparisons import Comparison, affordable_comparisons
from droplora_sweep.analysis.progress import Action, Budget, arms_to_test, progress_of
from tests.analysis.synthetic import World, arms_of

SEEDS = (43, 44, 45, 46, 47, 48)
GROWING = Budget(seeds=SEEDS, looks=(3, 5, 6))
ARMS = arms_of([0.0, 0.2, 0.4])


def comparison(arms=ARMS, subject="choice"):
    return Comparison(subject, arms, num_candidates=9)


def scores_of(truths, seed=0, num_examples=120):
    """Scores by arm and seed, as a sweep would have them."""
    scores_ASE = World().scores(truths, len(SEEDS), num_examples, np.random.default_rng(seed))
    return {
        (arm.name, each): {"choice": dict(enumerate(map(float, scores_ASE[row, column])))}
        for row, arm in enumerate(ARMS)
        for column, each in enumerate(SEEDS)
    }


def some(runs, *seeds):
    return {key: scores for key, scores in runs.items() if key[1] in seeds}


def test_before_the_first_run_every_arm_is_missing_with_the_same_seeds():
    found = progress_of([comparison()], GROWING, {})
    assert found.missing == tuple((arm, seed) for seed in SEEDS[:3] for arm in ARMS)
    assert found.decisions == ()


@pytest.mark.parametrize("races", [False, True])
def test_without_a_comparison_there_is_nothing_to_train(races):
    budget = Budget(seeds=SEEDS, looks=(3, 5, 6), races=races)
    found = progress_of([], budget, {})
    assert (found.step.action, found.missing, found.decisions) == (Action.STOP_DECIDED, (), ())


@pytest.mark.parametrize("races", [False, True])
def test_where_every_run_failed_the_confirmation_comes_to_an_end(races):
    budget = Budget(seeds=SEEDS, looks=(3, 5, 6), races=races)
    runs = {(arm.name, seed): {} for arm in ARMS for seed in SEEDS}
    found = progress_of([comparison()], budget, runs)
    assert found.missing == ()
    assert [one.recommended for one in found.decisions] == [None]


def test_a_run_that_has_ended_is_not_asked_for_again():
    runs = scores_of([0.6, 0.6, 0.62])
    few = dict(list(some(runs, 43, 44).items())[:4])
    found = progress_of([comparison()], GROWING, few)
    assert {(arm.name, seed) for arm, seed in found.missing} == some(runs, 43, 44, 45).keys() - few


def test_nothing_is_decided_on_half_a_look():
    runs = scores_of([0.6, 0.6, 0.62])
    whole = progress_of([comparison()], GROWING, some(runs, 43, 44, 45))
    assert whole.step.action is Action.ADD_SEEDS
    half = progress_of([comparison()], GROWING, some(runs, 43, 44, 45, 46))
    assert half.decisions == whole.decisions
    assert {seed for _, seed in half.missing} == {47}


def test_it_ends_the_same_whatever_the_order_and_the_interruptions():
    runs = scores_of([0.4, 0.42, 0.7])
    found = progress_of([comparison()], GROWING, runs)
    assert found.missing == ()
    assert found.step.action is Action.STOP_DECIDED
    assert progress_of([comparison()], GROWING, dict(reversed(runs.items()))).step == found.step
    assert {seed for _, seed in found.needed} == set(SEEDS[:3]), "three seeds were enough"


def test_a_run_that_failed_is_not_waited_for():
    runs = {**some(scores_of([0.4, 0.42, 0.8]), *SEEDS[:3]), ("t0001", 43): {}}
    found = progress_of([comparison()], Budget(SEEDS, (3,)), runs)
    assert found.missing == ()
    [decision] = found.decisions
    assert decision.recommended == ARMS[2]


def test_where_every_run_failed_nothing_is_decided():
    runs = {(arm.name, seed): {} for arm in ARMS for seed in SEEDS[:3]}
    [decision] = progress_of([comparison()], Budget(SEEDS, (3,)), runs).decisions
    assert decision.recommended is None
    assert arms_to_test([comparison()], [decision], ["choice"]) == {}


def test_the_winner_and_p_0_are_tested_on_their_benchmark():
    runs = some(scores_of([0.4, 0.42, 0.8]), *SEEDS[:3])
    [decision] = progress_of([comparison()], Budget(SEEDS, (3,)), runs).decisions
    assert arms_to_test([comparison()], [decision], ["choice"]) == {
        "t0002": ("choice",),
        "t0000": ("choice",),
    }
    assert arms_to_test([comparison()], [decision], ["choice", "tested_alone"])["t0002"] == (
        "choice",
        "tested_alone",
    )


def test_a_benchmark_without_test_examples_is_not_tested():
    runs = some(scores_of([0.4, 0.42, 0.8]), *SEEDS[:3])
    [decision] = progress_of([comparison()], Budget(SEEDS, (3,)), runs).decisions
    assert arms_to_test([comparison()], [decision], []) == {}
    mean = replace(comparison(), subject="mean"), replace(decision, benchmark="mean")
    both = arms_to_test([comparison(), mean[0]], [decision, mean[1]], ["sums"])
    assert both == {"t0002": ("sums",), "t0000": ("sums",)}


class Record:
    """A complete search trial."""

    state = "COMPLETE"

    def __init__(self, number, rate, score, **others):
        self.number, self.trial_id = number, f"t{number:04d}"
        self.spec = {
            "task": {"benchmarks": ["choice", *others]},
            "adapter": {"method": "droplora", "rank": 8, "pruning_rate": rate},
        }
        self.metrics = {f"val/{name}": x for name, x in {"choice": score, **others}.items()}


@pytest.mark.parametrize(("max_runs", "num_arms"), [(None, 4), (12, 4), (11, 3), (6, 2), (8, 2)])
def test_fewer_rates_are_confirmed_where_there_is_no_room_for_more(max_runs, num_arms):
    records = [Record(number, number / 10, 0.5 + number / 100) for number in range(5)]
    [found] = affordable_comparisons(records, num_rates=3, num_seeds=3, max_runs=max_runs)
    assert len(found.arms) == num_arms
    assert found.arms[0].pruning_rate == 0


def test_benchmarks_share_the_arms_of_their_mean_where_there_is_no_room_for_each():
    records = [
        Record(0, 0.0, 0.9, math=0.1),
        Record(1, 0.0, 0.1, math=0.8),
        Record(2, 0.2, 0.9, math=0.2),
        Record(3, 0.4, 0.1, math=0.9),
        Record(4, 0.3, 0.6, math=0.6),
    ]
    roomy = affordable_comparisons(records, num_rates=1, num_seeds=3, max_runs=None)
    assert [comparison.arms[1].name for comparison in roomy] == ["t0002", "t0003", "t0004"]
    tight = affordable_comparisons(records, num_rates=1, num_seeds=3, max_runs=6)
    assert [comparison.subject for comparison in tight] == ["choice", "math", "mean"]
    assert {arm.name for comparison in tight for arm in comparison.arms} == {"t0000", "t0004"}
