import numpy as np
import pytest

from droplora_sweep.analysis.comparisons import Comparison
from droplora_sweep.analysis.confirmed import ConfirmedVerdict
from droplora_sweep.analysis.evidence import ScoreTable
from droplora_sweep.analysis.progress import Action, Budget, next_step
from tests.analysis.synthetic import World, arms_of

SEEDS = tuple(range(100, 112))
BUDGET = Budget(seeds=SEEDS, looks=(3, 4, 6, 8, 12))
RATES = [0.0, 0.1, 0.2, 0.4]


def comparison(subject="choice", arms=None):
    return Comparison(subject, arms or arms_of(RATES), num_candidates=20)


def first_seeds(scores_ASE, num_seeds):
    return ScoreTable(arms_of(RATES), SEEDS[:num_seeds], {"choice": scores_ASE[:, :num_seeds]})


def confirm(truths, generator, budget=BUDGET, num_examples=200, world=None):
    """Run a confirmation to its end; gives the last step and the runs it took."""
    scores_ASE = (world or World()).scores(truths, len(SEEDS), num_examples, generator)
    step = next_step(None, [comparison()], budget)
    num_runs, num_seeds = 0, 0
    while step.action is Action.ADD_SEEDS:
        num_runs += len(step.seeds) * len(step.arms)
        num_seeds += len(step.seeds)
        step = next_step(first_seeds(scores_ASE, num_seeds), [comparison()], budget)
    return step, num_runs


def test_the_first_step_trains_every_arm_of_every_comparison_once():
    arms = arms_of(RATES)
    comparisons = [comparison("choice", arms[:3]), comparison("code", (arms[0], arms[3]))]
    step = next_step(None, comparisons, BUDGET)
    assert (step.action, step.seeds, step.arms) == (Action.ADD_SEEDS, SEEDS[:3], arms)


def test_a_large_gain_is_decided_early():
    step, num_runs = confirm([0.4, 0.45, 0.8, 0.5], np.random.default_rng(0))
    assert step.action is Action.STOP_DECIDED
    assert step.decisions[0].verdict is ConfirmedVerdict.BETTER
    assert step.decisions[0].recommended.pruning_rate == 0.2
    assert num_runs <= 4 * 6


def test_an_open_comparison_gets_the_seeds_up_to_the_next_look():
    scores_ASE = World().scores([0.60, 0.60, 0.68, 0.62], 12, 500, np.random.default_rng(5))
    step = next_step(first_seeds(scores_ASE, 3), [comparison()], BUDGET)
    assert (step.action, step.seeds) == (Action.ADD_SEEDS, SEEDS[3:4])
    step = next_step(first_seeds(scores_ASE, 3), [comparison()], Budget(SEEDS, (3, 7)))
    assert step.seeds == SEEDS[3:7]


def test_arms_of_decided_comparisons_are_trained_no_more():
    arms = arms_of(RATES)
    generator = np.random.default_rng(0)
    clear = World().scores([0.2, 0.8, 0.5, 0.5], 3, 400, generator)
    close = World().scores([0.60, 0.6, 0.6, 0.62], 3, 400, generator)
    table = ScoreTable(arms, SEEDS[:3], {"choice": clear, "code": close})
    comparisons = [comparison("choice", arms[:2]), comparison("code", (arms[0], arms[3]))]
    # Two looks, so that the first already has a share of alpha.
    step = next_step(table, comparisons, Budget(SEEDS, (3, 4)))
    assert [one.verdict for one in step.decisions] == [
        ConfirmedVerdict.BETTER,
        ConfirmedVerdict.CANNOT_TELL,
    ]
    assert step.arms == (arms[0], arms[3])


def test_the_budget_ends_it():
    scores_ASE = World().scores([0.60, 0.60, 0.64, 0.62], 12, 500, np.random.default_rng(5))
    [decision] = next_step(
        first_seeds(scores_ASE, 4), [comparison()], Budget(SEEDS, (3, 4))
    ).decisions
    assert decision.verdict is ConfirmedVerdict.CANNOT_TELL
    step = next_step(first_seeds(scores_ASE, 4), [comparison()], Budget(SEEDS, (3, 4)))
    assert step.action is Action.STOP_BUDGET
    step = next_step(first_seeds(scores_ASE, 3), [comparison()], Budget(SEEDS, (3, 6), max_runs=20))
    assert (step.action, step.seeds) == (Action.STOP_BUDGET, ())


def test_a_comparison_that_more_seeds_cannot_settle_is_given_up():
    world = World(seed=0, arm_seed=0, arm_example=2.0)
    budget = Budget(SEEDS, (3, 4, 12), margin=0.0)
    found = [
        confirm([0.6] * 4, np.random.default_rng(draw), budget, 150, world)[0].action
        for draw in range(4)
    ]
    assert Action.STOP_FUTILE in found


@pytest.mark.parametrize(
    ("budget", "broken"),
    [
        ({"seeds": (1, 1), "looks": (2,)}, "a seed is used once"),
        ({"seeds": (1, 2), "looks": ()}, "there is a look"),
        ({"seeds": (1, 2), "looks": (1, 2)}, "one seed tells nothing of seeds"),
        ({"seeds": (1, 2, 3), "looks": (3, 2)}, "looks are ascending"),
        ({"seeds": (1, 2), "looks": (3,)}, "there are seeds for every look"),
    ],
)
def test_a_budget_that_contradicts_itself_is_a_bug(budget, broken):
    with pytest.raises(AssertionError, match=broken):
        Budget(**budget)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_looking_often_keeps_false_wins_below_5_percent():
    generator = np.random.default_rng(7)
    verdicts = [confirm([0.6] * 4, generator)[0].decisions[0].verdict for _ in range(400)]
    assert verdicts.count(ConfirmedVerdict.BETTER) <= 0.05 * len(verdicts)
