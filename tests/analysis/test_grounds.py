"""Nothing is decided about runs that have not learned: against references, by answers, by loss."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from droplora_sweep.analysis.grounds import RunFacts, doubts, gain_over, reference_rows, remarks
from droplora_sweep.spec.metric_names import MEAN

NAMES = ("arc_easy", "boolq")
CHANCES = {"arc_easy": 0.25, "boolq": 0.5}


def scores(share, num_examples=40, name="arc_easy", shift=0):
    """The first of the examples are right, from ``shift`` on."""
    num_right = round(share * num_examples)
    return {
        name: {
            f"e{index}": float((index - shift) % num_examples < num_right)
            for index in range(num_examples)
        }
    }


def reference(untrained=0.25, name="arc_easy", frequent=("answer3", 0.3)):
    return SimpleNamespace(
        untrained={name: untrained},
        most_frequent={name: frequent},
        chance={name: CHANCES[name]},
    )


def rows(untrained=0.25, num_examples=40, name="arc_easy", **more):
    return reference_rows(
        reference(untrained, name, **more), scores(untrained, num_examples, name), [name]
    )


def ask(arms, untrained=0.25, num_examples=40, subject="arc_easy", **more):
    known = rows(untrained, num_examples, subject)
    return doubts(subject, arms, known, scores(untrained, num_examples, subject), **more)


def arm(share, num_seeds=3, num_examples=40, **facts):
    return [RunFacts(scores(share, num_examples, shift=seed), **facts) for seed in range(num_seeds)]


def test_scores_at_chance_are_nothing_to_decide_about_and_name_what_they_do_not_beat():
    [reason] = ask({"p = 0": arm(0.158), "p = 0.2": arm(0.15)})
    assert reason == (
        'no rate scores clearly above the untrained model (25.0%), always answering "answer3" '
        "(30.0%) or chance (25.0%): the best has 15.0%"
    )


def test_one_arm_that_has_learned_is_enough():
    assert ask({"p = 0": arm(0.25), "p = 0.2": arm(0.9)}) == ()


def test_a_score_that_is_higher_by_luck_is_not_above():
    # 13 of 40 against 10: far within the interval.
    [reason] = ask({"p = 0": arm(0.325, 1), "p = 0.2": arm(0.3, 1)})
    assert reason.startswith("no rate scores clearly above the untrained model (25.0%)")


def test_an_untrained_model_that_is_good_already_has_to_be_beaten_itself():
    [reason] = ask({"p = 0": arm(0.9, num_examples=400)}, untrained=0.9, num_examples=400)
    assert reason.startswith("no rate scores clearly above the untrained model (90.0%):")


def test_the_best_of_many_trials_must_be_further_above():
    arms = {"p = 0": arm(0.5, 1)}
    assert ask(arms, num_candidates=1) == ()
    assert ask(arms, num_candidates=10_000) != ()


def test_without_references_nothing_is_said_of_them():
    assert doubts("arc_easy", {"p = 0": arm(0.1)}, (), None) == ()


def test_no_runs_are_no_grounds_for_doubt():
    assert ask({}) == ask({"p = 0": []}) == ()


def constant(answer="true", num_given=40, num_right=25, others=0):
    given = Counter({answer: num_given - others, "false": others})
    right = Counter({"true": num_right, "false": 40 - num_right})
    return RunFacts(scores(0.9), {"arc_easy": given}, {"arc_easy": right})


def test_the_same_answer_to_everything_is_said_with_its_count():
    runs = {"p = 0": [constant(), constant()], "p = 0.2": [constant(others=1)]}
    [reason] = ask(runs)
    assert reason == (
        'nearly all answers are the same in each of 3 runs: arc_easy is answered "true" 119 of '
        "120 times"
    )


def test_responses_without_an_answer_are_the_same_answer_too():
    [reason] = ask({"p = 0": [constant(None)]})
    assert reason == (
        "nearly all answers are the same in its only run: arc_easy is answered nothing that can be "
        "read 40 of 40 times"
    )


@pytest.mark.parametrize(
    "other",
    [
        constant(others=20),
        # All are right: there is one right answer to everything.
        constant(num_right=40),
        RunFacts(scores(0.9)),
    ],
)
def test_one_run_that_answers_otherwise_is_enough(other):
    assert ask({"p = 0": [constant()], "p = 0.2": [other]}) == ()


def test_an_answer_that_most_get_is_named_where_nothing_is_above():
    given = [Counter({"answer4": 31 + 2 * seed, "answer1": 9 - 2 * seed}) for seed in range(3)]
    right = Counter({f"answer{index}": 10 for index in range(1, 5)})
    runs = [RunFacts(scores(0.2), {"arc_easy": one}, {"arc_easy": right}) for one in given]
    [not_above, mostly] = ask({"p = 0": runs})
    assert not_above.startswith("no rate scores clearly above")
    assert mostly == 'arc_easy is answered "answer4" 99 of 120 times'


def test_one_arm_that_answers_alike_is_remarked_on_and_no_reason():
    learned = RunFacts(
        scores(0.9), {"arc_easy": Counter({"true": 20, "false": 20})}, constant().right
    )
    arms = {"p = 0": [learned] * 3, "p = 0.5": [constant()] * 3}
    assert ask(arms) == ()
    assert remarks("arc_easy", arms) == (
        "of p = 0.5, nearly all answers are the same in each of 3 runs: arc_easy is answered "
        '"true" 120 of 120 times',
    )


def test_one_arm_whose_loss_still_falls_is_remarked_on():
    arms = {"p = 0": [losing(0.1)] * 3, "p = 0.5": [losing(0.9)] * 2}
    [said] = remarks("arc_easy", arms)
    assert said.startswith("of p = 0.5, the loss still falls at the end of training in 2 of 2")


def losing(pace, low=0.1):
    metrics = {"train/late_pace": pace, "train/late_fall_low": low}
    return RunFacts(scores(0.9), metrics=metrics)


def test_a_loss_that_still_falls_in_most_runs_is_said_with_its_pace():
    [reason] = ask({"p = 0": [losing(0.8), losing(0.9)], "p = 0.2": [losing(0.7), losing(0.1)]})
    assert reason == (
        "the loss still falls at the end of training in 3 of 4 runs, at 80% of its average pace, "
        "so that longer training would change the scores"
    )


@pytest.mark.parametrize(
    "run", [losing(0.49), losing(0.9, low=-0.01), RunFacts(scores(0.9), metrics={})]
)
def test_a_loss_that_levels_off_or_is_noise_or_unknown_is_no_reason(run):
    assert ask({"p = 0": [run], "p = 0.2": [run]}) == ()


def test_the_mean_is_compared_with_the_mean_of_what_has_to_be_beaten():
    known = SimpleNamespace(
        untrained={"arc_easy": 0.25, "boolq": 0.6},
        most_frequent={"arc_easy": ("answer3", 0.3), "boolq": ("true", 0.6)},
        chance=CHANCES,
    )
    untrained = scores(0.25) | scores(0.6, name="boolq")
    found = reference_rows(known, untrained, NAMES)
    of_mean = {row.label: row.score for row in found if row.benchmark == MEAN}
    assert of_mean == pytest.approx(
        {"untrained model": 0.425, "always the most frequent answer": 0.45, "chance": 0.375}
    )

    def both(first, second):
        return [RunFacts(scores(first, shift=k) | scores(second, name="boolq")) for k in range(3)]

    assert doubts(MEAN, {"p = 0": both(0.9, 0.9)}, found, untrained) == ()
    [reason] = doubts(MEAN, {"p = 0": both(0.25, 0.6)}, found, untrained)
    assert "untrained model (42.5%), always answering the most frequent answer (45.0%)" in reason


def test_math_has_the_untrained_model_alone_to_beat():
    known = SimpleNamespace(untrained={"gsm8k": 0.1}, most_frequent={}, chance={})
    [row] = reference_rows(known, None, ["gsm8k"])
    assert (row.label, row.score, row.estimate) == ("untrained model", 0.1, None)


def test_the_interval_of_one_run_is_students_but_for_the_two_added_examples():
    generator = np.random.default_rng(0)
    values = generator.integers(0, 2, 2000).astype(float)
    run = {"a": {f"e{index}": value for index, value in enumerate(values)}}
    found = gain_over([run], ["a"], 0.25)
    expected = ttest_1samp(values - 0.25, 0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=2e-4)


@pytest.mark.parametrize(("num_seeds", "num_examples", "seed_sd"), [(3, 100, 0.05), (5, 80, 0)])
def test_runs_no_better_than_chance_are_rarely_called_better(num_seeds, num_examples, seed_sd):
    generator = np.random.default_rng(1)
    num_draws, num_false = 200, 0
    for _ in range(num_draws):
        truth = np.clip(0.25 + generator.normal(0, seed_sd, num_seeds), 0, 1)
        drawn = generator.random((num_seeds, num_examples)) < truth[:, None]
        runs = [{"a": {f"e{k}": float(v) for k, v in enumerate(row)}} for row in drawn]
        num_false += gain_over(runs, ["a"], 0.25).low > 0
    # 2.5 % on this side, within three standard errors.
    assert num_false / num_draws <= 0.025 + 3 * (0.025 * 0.975 / num_draws) ** 0.5
