import numpy as np
import pytest

from droplora_sweep.analysis.confirmed import ConfirmedVerdict, Rule, decide
from droplora_sweep.analysis.evidence import Arm, ScoreTable
from droplora_sweep.analysis.text import confirmed_text, confirmed_texts
from tests.analysis.synthetic import World, arms_of, table_of

PLAIN_TEST = Rule(looks=(2,))


def decided(rates, truths, num_seeds=5, num_examples=400, rule=PLAIN_TEST, world=None, draw=0):
    generator = np.random.default_rng(draw)
    scores_ASE = (world or World()).scores(truths, num_seeds, num_examples, generator)
    return decide(table_of(rates, choice=scores_ASE), "choice", arms_of(rates), rule)


def test_a_clear_gain_is_better_and_its_rate_is_recommended():
    decision = decided([0.0, 0.2, 0.5], [0.50, 0.65, 0.35])
    assert decision.verdict is ConfirmedVerdict.BETTER
    assert decision.recommended.pruning_rate == decision.best.pruning_rate == 0.2
    plain, better, worse = decision.rates
    assert plain.difference is None
    assert better.is_clear
    assert worse.is_clear
    assert better.difference.estimate.low > 0 > worse.difference.estimate.high
    assert better.probability_best > 0.99
    assert decision.groups == ((better.arm,), (plain.arm,), (worse.arm,))
    assert decision.unsettled is None


def test_no_gain_means_p_0():
    worse = decided([0.0, 0.2, 0.5], [0.65, 0.50, 0.35])
    assert worse.verdict is ConfirmedVerdict.WORSE
    assert worse.recommended.pruning_rate == 0
    exact = World(seed=0, arm_seed=0, arm_example=0)
    rule = Rule(looks=(2,), margin=0.02)
    alike = decided([0.0, 0.2], [0.6, 0.6], num_examples=4000, rule=rule, world=exact, draw=1)
    assert alike.verdict is ConfirmedVerdict.NO_GAIN
    assert alike.recommended.pruning_rate == 0


def test_a_small_difference_cannot_be_told_yet_and_seeds_would_show_a_larger_one():
    decision = decided([0.0, 0.2], [0.60, 0.64], num_seeds=3, num_examples=2000, draw=2)
    assert decision.verdict is ConfirmedVerdict.CANNOT_TELL
    assert [arm.pruning_rate for arm in decision.unsettled] == [0.2, 0.0]
    assert decision.detectable.num_more_seeds == 3
    assert 0.005 < decision.detectable.least_gap < decision.detectable.gap < 0.2


def test_where_examples_are_few_seeds_alone_do_not_settle_it():
    world = World(seed=0, arm_seed=0, arm_example=1.5)
    decision = decided([0.0, 0.2], [0.60, 0.63], num_examples=100, world=world, num_seeds=8)
    assert decision.verdict is ConfirmedVerdict.CANNOT_TELL
    found = decision.detectable
    assert found.least_gap > 0.75 * found.gap
    assert confirmed_text(decision).endswith(
        f"8 more seeds would show a true gap of {100 * found.gap:.1f} points in 4 of 5 such sweeps,"
        f" and no number of seeds one below {100 * found.least_gap:.1f} points on these 100 "
        "examples (8 seeds, 100 examples)"
    )


EQUAL_WITH_ERRORS = [((0, 3), (1, 7)), ((0, 3), (0, 7)), ((0, 3), (0, 3)), ((2, 19), (1, 19))]


@pytest.mark.parametrize("wrong", EQUAL_WITH_ERRORS, ids=str)
def test_equal_scores_cannot_be_told_apart(wrong):
    """All right but one example of one run in each arm: seed and example of each."""
    scores_ASE = np.ones((2, 3, 20))
    for arm, (seed, example) in enumerate(wrong):
        scores_ASE[arm, seed, example] = 0
    decision = decide(
        table_of([0.0, 0.2], choice=scores_ASE),
        "choice",
        arms_of([0.0, 0.2]),
        Rule(looks=(3,), margin=0.01),
    )
    assert decision.verdict is ConfirmedVerdict.CANNOT_TELL
    estimate = decision.rates[1].difference.estimate
    assert estimate.value == pytest.approx(0)
    assert estimate.low < -0.1
    assert estimate.high > 0.1
    assert "3 more seeds would show a true gap of " in confirmed_text(decision)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.9, 0.95, 0.99, 1.0])
@pytest.mark.parametrize("num_arms", [2, 3, 4])
def test_few_examples_at_any_accuracy_never_end_the_decision_nor_settle_it(share, num_arms):
    """An interval over 20 examples is never narrower than those examples can tell."""
    generator = np.random.default_rng(8)
    rates = [0.0, 0.1, 0.2, 0.4][:num_arms]
    for _ in range(15):
        scores_ASE = (generator.random((num_arms, 3, 20)) < share).astype(float)
        decision = decide(
            table_of(rates, choice=scores_ASE),
            "choice",
            arms_of(rates),
            Rule(looks=(3,), margin=0.01),
        )
        assert decision.verdict is not ConfirmedVerdict.NO_GAIN
        for rate in decision.rates[1:]:
            estimate = rate.difference.estimate
            assert estimate.high - estimate.low > 0.1
        for rate in decision.rates:
            assert rate.mean.high - rate.mean.low > 0.1
        detectable = decision.detectable
        if detectable is not None:
            assert 0 < detectable.least_gap <= 1
            assert detectable.gap is None or detectable.least_gap <= detectable.gap <= 1


def test_a_gap_that_no_seeds_would_show_is_said_to_be_none():
    """One arm fails altogether with one seed of three."""
    scores_ASE = np.ones((2, 3, 20))
    scores_ASE[0, 0] = 0
    decision = decide(
        table_of([0.0, 0.2], choice=scores_ASE), "choice", arms_of([0.0, 0.2]), PLAIN_TEST
    )
    assert decision.detectable.gap is None
    assert "; 3 more seeds would show no gap, however large" in (confirmed_text(decision))


def test_the_smallest_rate_within_one_standard_error_of_the_best_is_recommended():
    decision = decided([0.0, 0.1, 0.3, 0.5], [0.50, 0.65, 0.651, 0.651], draw=4)
    assert decision.verdict is ConfirmedVerdict.BETTER
    assert decision.recommended.pruning_rate == 0.1
    assert {arm.pruning_rate for arm in decision.groups[0]} == {0.1, 0.3, 0.5}


def test_settings_picked_on_the_same_examples_need_more_evidence():
    found = [
        decided([0.0, 0.2], [0.60, 0.70], draw=4, rule=Rule((2,), num_candidates=count))
        for count in (None, 1000)
    ]
    assert [one.verdict for one in found] == [
        ConfirmedVerdict.BETTER,
        ConfirmedVerdict.CANNOT_TELL,
    ]
    alone, among = (one.rates[1].adjusted_p_value for one in found)
    assert among == pytest.approx(min(1, 1000 * alone))


def test_an_early_look_asks_for_more_than_the_last():
    found = [
        decided([0.0, 0.2], [0.60, 0.66], draw=4, rule=Rule(looks)).verdict
        for looks in ((5,), (5, 10, 20))
    ]
    assert found == [ConfirmedVerdict.BETTER, ConfirmedVerdict.CANNOT_TELL]


def test_before_the_first_look_nothing_is_claimed():
    decision = decided([0.0, 0.2], [0.3, 0.7], num_seeds=3, rule=Rule((5,)))
    assert decision.verdict is ConfirmedVerdict.CANNOT_TELL


def test_the_mean_is_decided_over_all_benchmarks():
    generator = np.random.default_rng(0)
    rates = [0.0, 0.2]
    table = table_of(
        rates,
        choice=World().scores([0.5, 0.7], 4, 400, generator),
        code=World().scores([0.7, 0.6], 4, 300, generator),
    )
    decision = decide(table, "mean", arms_of(rates), PLAIN_TEST)
    value = decision.rates[1].difference.estimate.value
    by_hand = np.mean([np.diff(part.mean(axis=(1, 2)))[0] for part in table.scores.values()])
    assert value == pytest.approx(by_hand)
    assert decision.num_examples == 700


def test_too_few_runs_say_so():
    generator = np.random.default_rng(0)
    scores_ASE = World().scores([0.5, 0.6], 2, 50, generator)
    decision = decide(
        table_of([0.0, 0.2], choice=scores_ASE), "choice", arms_of([0.0, 0.2]), PLAIN_TEST
    )
    assert decision.verdict is ConfirmedVerdict.TOO_FEW
    assert confirmed_text(decision) == (
        "choice: not enough runs: a rate must share three seeds with p = 0"
    )


def test_without_p_0_there_is_no_decision():
    decision = decided([0.1, 0.2], [0.5, 0.6])
    assert decision.verdict is ConfirmedVerdict.NO_BASELINE


def test_an_arm_whose_runs_failed_is_left_out():
    scores_ASE = World().scores([0.5, 0.6, 0.7], 4, 50, np.random.default_rng(0))
    scores_ASE[2, 1:] = np.nan
    rates = [0.0, 0.2, 0.4]
    decision = decide(table_of(rates, choice=scores_ASE), "choice", arms_of(rates), PLAIN_TEST)
    assert [one.arm.pruning_rate for one in decision.rates] == [0.0, 0.2]


def test_only_the_arms_of_the_benchmark_are_compared():
    scores_ASE = World().scores([0.5, 0.6, 0.9], 4, 50, np.random.default_rng(0))
    arms = (Arm("a", 0.0), Arm("b", 0.2), Arm("c", 0.4))
    table = ScoreTable(arms, (0, 1, 2, 3), {"choice": scores_ASE})
    decision = decide(table, "choice", arms[:2], PLAIN_TEST)
    assert decision.best.name in ("a", "b")


def test_the_text_tells_which_rate_to_use_and_how_sure_that_is():
    text = confirmed_texts([decided([0.0, 0.2, 0.3], [0.50, 0.65, 0.66])])
    line, caveat = text.splitlines()
    assert line.startswith(
        "choice: use p = 0.2 (t0001): p = 0.2 and 0.3 are better than p = 0; p = 0.2 scores "
    )
    assert " points [+" in line
    assert "cannot tell 0.2 and 0.3 apart" in line
    assert line.count("cannot tell") == 1, "that two rates are open is said once"
    assert line.endswith("(5 seeds, 400 examples)")
    assert caveat.startswith("Confirmed: the same seeds and examples in every arm")


def test_the_text_gives_the_gap_that_more_seeds_would_show():
    text = confirmed_text(decided([0.0, 0.2], [0.60, 0.64], num_seeds=3, num_examples=2000, draw=2))
    assert text.startswith("choice: cannot tell p = 0.2 from p = 0 yet; until then use p = ")
    assert text.count("cannot tell") == 1
    assert "; 3 more seeds would show a true gap of " in text
    assert " points in 4 of 5 such sweeps" in text


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("num_seeds", [2, 3, 5])
def test_rates_that_do_not_matter_seldom_win(num_seeds):
    """Four rates as good as p = 0: at most 5 % of sweeps may call one better."""
    wins = [
        decided([0.0, 0.1, 0.2, 0.3, 0.5], [0.6] * 5, num_seeds, 200, draw=1000 + draw).verdict
        is ConfirmedVerdict.BETTER
        for draw in range(400)
    ]
    assert np.mean(wins) <= 0.05


def test_arms_that_never_disagree_are_equally_likely_to_be_the_best():
    scores_ASE = np.zeros((2, 3, 40))
    decision = decide(
        table_of([0.0, 0.4], choice=scores_ASE), "choice", arms_of([0.0, 0.4]), PLAIN_TEST
    )
    assert [one.probability_best for one in decision.rates] == [0.5, 0.5]
