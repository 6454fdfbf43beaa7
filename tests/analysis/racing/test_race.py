"""Races of arms: who is dropped, who stays, and by which level a dropped arm is judged."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from droplora_sweep.analysis.comparisons import Comparison
from droplora_sweep.analysis.confirmed import (
    ConfirmedVerdict,
    Dropped,
    DropReason,
    Rule,
    claims_of,
    decide,
)
from droplora_sweep.analysis.evidence import Arm, ScoreTable
from droplora_sweep.analysis.progress import Action, Budget, next_step, progress_of
from droplora_sweep.analysis.racing.race import race
from droplora_sweep.analysis.text import confirmed_text, dropped_text, verdict_text
from tests.analysis.synthetic import World, arms_of

LOOKS = (3, 5, 8, 12)
SEEDS = tuple(range(43, 55))
BUDGET = Budget(seeds=SEEDS, looks=LOOKS, races=True)
RATES = [0.0, 0.2, 0.4]
ARMS = arms_of(RATES)


def comparison(subject="choice", arms=ARMS):
    return Comparison(subject, arms, num_candidates=9)


def scores(truths, seed=0, num_examples=200):
    return World().scores(truths, len(SEEDS), num_examples, np.random.default_rng(seed))


def table(scores_ASE, arms=ARMS, num_seeds=12):
    return ScoreTable(arms, SEEDS[:num_seeds], {"choice": scores_ASE[:, :num_seeds]})


def raced(truths, num_used=12, **options):
    return race(table(scores(truths, **options)), comparison(), Rule(LOOKS), SEEDS, num_used)


def runs_of(scores_ASE, arms=ARMS, subject="choice"):
    return {
        (arm.name, seed): {subject: dict(enumerate(map(float, scores_ASE[row, column])))}
        for row, arm in enumerate(arms)
        for column, seed in enumerate(SEEDS)
    }


def test_a_rate_that_collapses_is_dropped_at_the_first_look_and_p_0_stays():
    found = raced([0.6, 0.65, 0.3], num_used=3)
    [dropped] = found.dropped
    assert (dropped.arm, dropped.num_seeds, dropped.rival) == (ARMS[2], 3, ARMS[1])
    assert dropped.reason is DropReason.BEHIND
    assert dropped.gap < -0.2
    assert found.open_arms == ARMS[:2]


def test_later_seeds_go_to_open_arms_alone():
    scores_ASE = scores([0.6, 0.65, 0.3])
    step = next_step(table(scores_ASE, num_seeds=3), [comparison()], BUDGET)
    assert (step.action, step.seeds, step.arms) == (Action.ADD_SEEDS, SEEDS[3:5], ARMS[:2])


@pytest.mark.parametrize("seed", range(4))
def test_look_by_look_it_is_the_same_as_at_once(seed):
    scores_ASE = scores([0.6, 0.64, 0.58], seed)
    progress = progress_of([comparison()], BUDGET, runs_of(scores_ASE))
    assert progress.missing == ()
    found = race(table(scores_ASE), comparison(), Rule(LOOKS, margin=0.01), SEEDS, len(SEEDS))
    [decision] = progress.decisions
    at_once = decide(found.table, "choice", ARMS, Rule(LOOKS, margin=0.01), found.dropped)
    assert (decision.verdict, decision.recommended) == (at_once.verdict, at_once.recommended)
    assert [one.dropped for one in decision.rates] == [one.dropped for one in at_once.rates]
    assert len(progress.needed) == sum(found.num_seeds.values())


def test_what_an_arm_has_beyond_its_last_look_is_not_read():
    scores_ASE = scores([0.6, 0.65, 0.3])
    moved_ASE = scores_ASE.copy()
    moved_ASE[2, 3:] = 1.0
    first, second = (
        race(table(one), comparison(), Rule(LOOKS), SEEDS, 12) for one in (scores_ASE, moved_ASE)
    )
    assert first.dropped == second.dropped
    [end] = {one.num_seeds[ARMS[2]] for one in (first, second)}
    assert end == 3
    assert np.isnan(second.table.scores["choice"][2, 3:]).all()


def test_a_dropped_arm_is_judged_by_the_level_of_its_own_look():
    """Its few runs pass the last look's level, and would be a claim that no alpha was spent on."""
    scores_ASE = scores([0.6, 0.62, 0.42])
    scores_ASE[2, 3:] = np.nan
    rule = Rule(LOOKS)
    gone = Dropped(
        arm=ARMS[2],
        num_seeds=3,
        reason=DropReason.FUTILE,
        rival=ARMS[0],
        gap=-0.1,
        chance=0.0,
    )
    plain = claims_of(table(scores_ASE), "choice", ARMS, rule)
    judged = claims_of(table(scores_ASE), "choice", ARMS, rule, (gone,))
    assert 2 in plain.clear
    assert 2 not in judged.clear
    assert judged.p_values == plain.p_values


def test_where_all_are_dropped_p_0_is_used_and_nothing_is_claimed():
    found = raced([0.65, 0.6, 0.5])
    assert {one.arm for one in found.dropped} == set(ARMS[1:])
    assert found.open_arms == ()
    decision = decide(found.table, "choice", ARMS, Rule(LOOKS), found.dropped)
    assert decision.verdict is ConfirmedVerdict.DROPPED
    assert decision.recommended == ARMS[0]
    assert not any(one.is_clear for one in decision.rates)
    text = confirmed_text(decision)
    assert "unlikely to be shown better than p = 0" in text
    assert "worse than" not in text


def test_a_rate_that_is_shown_to_be_worse_is_dropped_by_a_claim():
    world = World(seed=0.01, arm_seed=0.01)
    scores_ASE = world.scores([0.6, 0.62, 0.2], 12, 2000, np.random.default_rng(0))
    found = race(table(scores_ASE), comparison(), Rule((3, 4, 12)), SEEDS, 4)
    [dropped] = found.dropped
    assert dropped.reason in (DropReason.WORSE, DropReason.BEHIND)
    looks = Rule((5, 6, 12))
    kept = replace(comparison(), arms=ARMS)
    found = race(table(scores_ASE), kept, looks, SEEDS, 6)
    [dropped] = found.dropped
    assert (dropped.reason, dropped.num_seeds, dropped.chance) == (DropReason.WORSE, 5, None)
    decision = decide(found.table, "choice", ARMS, looks, found.dropped)
    assert "p = 0.4 is worse than p = 0" in verdict_text(decision)
    assert dropped_text(dropped).endswith("points behind p = 0, which is worse")


def test_a_dropped_rate_is_named_with_look_and_reason():
    found = raced([0.6, 0.66, 0.3])
    decision = decide(found.table, "choice", ARMS, Rule(LOOKS), found.dropped)
    text = confirmed_text(decision)
    assert "p = 0.4 was dropped after 3 seeds: " in text
    assert " points behind p = 0.2, hardly able to catch up (chance below 1%)" in text
    [row] = [one for one in decision.rates if one.arm == ARMS[2]]
    assert row.difference.num_seeds == 3
    assert row.mean.low < row.mean.value < row.mean.high


def test_the_control_of_a_rate_runs_as_long_as_the_rate():
    arms = (
        Arm("t0000", 0.0),
        Arm("t0001", 0.2, "t0001@p=0"),
        Arm("t0001@p=0", 0.0),
        Arm("t0002", 0.4, "t0002@p=0"),
        Arm("t0002@p=0", 0.0),
    )
    truths = {"t0000": 0.6, "t0001": 0.66, "t0001@p=0": 0.6, "t0002": 0.3, "t0002@p=0": 0.6}
    # A table has its arms by rate, then by name.
    order = tuple(sorted(arms, key=lambda arm: (arm.pruning_rate, arm.name)))
    found_ASE = scores([truths[arm.name] for arm in order])
    found = race(table(found_ASE, order), comparison(arms=arms), Rule(LOOKS), SEEDS, 3)
    assert found.open_arms == arms[:3]
    step = next_step(table(found_ASE, order, 5), [comparison(arms=arms)], BUDGET)
    assert set(step.arms) == set(arms[:3])


def test_an_arm_whose_runs_failed_is_not_dropped_for_that():
    scores_ASE = scores([0.6, 0.65, 0.6])
    scores_ASE[2, :3] = np.nan
    found = race(table(scores_ASE), comparison(), Rule(LOOKS), SEEDS, 3)
    assert ARMS[2] in found.open_arms


def test_an_arm_is_dropped_from_one_benchmark_and_runs_for_another():
    bad, good = scores([0.6, 0.65, 0.3]), scores([0.6, 0.6, 0.66], 3)
    both = ScoreTable(ARMS, SEEDS[:3], {"choice": bad[:, :3], "code": good[:, :3]})
    step = next_step(both, [comparison(), comparison("code")], BUDGET)
    assert ARMS[2] in step.arms
    choice = step.decisions[0]
    assert [one.dropped is not None for one in choice.rates] == [False, False, True]
    later = ScoreTable(ARMS, SEEDS[:5], {"choice": bad[:, :5], "code": good[:, :5]})
    again = next_step(later, [comparison(), comparison("code")], BUDGET).decisions[0]
    before, after = (one.rates[2].difference for one in (choice, again))
    assert (after.estimate.value, after.num_seeds) == (before.estimate.value, 3), "its runs alone"


def test_runs_are_counted_as_they_were_trained():
    """After 3 seeds one of three arms is dropped: two seeds more for two arms are 13 runs."""
    scores_ASE = scores([0.6, 0.65, 0.3])
    given = table(scores_ASE, num_seeds=3)
    for most, action in ((13, Action.ADD_SEEDS), (12, Action.STOP_BUDGET)):
        step = next_step(given, [comparison()], replace(BUDGET, max_runs=most))
        assert step.action is action
    later = next_step(table(scores_ASE, num_seeds=5), [comparison()], replace(BUDGET, max_runs=19))
    assert later.action in (Action.ADD_SEEDS, Action.STOP_DECIDED)
