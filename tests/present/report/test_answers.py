"""The answer that a report gives first."""

from dataclasses import replace

import pytest

from droplora_sweep.analysis.confirmed import Rule, decide
from droplora_sweep.present.contents.answers import Certainty, answers
from droplora_sweep.present.contents.headline import headline
from droplora_sweep.present.contents.results import confirmed_tables
from tests.analysis.racing.test_race import ARMS, LOOKS
from tests.analysis.racing.test_race import raced as race_of

from .conftest import Sweep, confirm


@pytest.fixture
def alone():
    return Sweep(benchmarks=("arc",))


def first(sweep, *confirmed):
    found = answers(sweep.facts(confirmed))
    return found[0], headline(found)


def test_a_rate_that_is_confirmed_to_be_better_is_to_be_used(alone):
    alone.trial(0.0, 0.5)
    decision = confirm({0.0: 0.5, 0.2: 0.7})
    answer, shown = first(alone, decision)
    assert answer.certainty is shown.certainty is Certainty.SETTLED
    assert shown.advice == "Use a pruning rate of 0.2."
    assert shown.reason.startswith(
        "In arc: p = 0.2 is better than p = 0. Trained again with the same 5 seeds, p = 0.2 scores"
    )
    assert "with > 99 % probability" in shown.reason or "with 100 % probability" in shown.reason
    assert answer.verdict == "p = 0.2 is better than p = 0"
    assert answer.sentence.startswith("arc: use p = 0.2 (t0001-00000001)")
    assert answer.score == decision.rates[1].mean


def test_a_gain_over_p_0_with_the_same_other_settings_is_told(alone):
    _, shown = first(alone, confirm({0.0: 0.5, 0.2: 0.7}, control=0.6))
    assert shown.advice == "Use a pruning rate of 0.2."
    assert " Against p = 0 with its own other settings it is +" in shown.reason


def test_p_0_with_the_settings_that_were_found_for_a_rate_can_be_what_to_use(alone):
    alone.trial(0.0, 0.5)
    alone.trial(0.2, 0.7, rank=16)
    answer, shown = first(alone, confirm({0.0: 0.5, 0.2: 0.7}, control=0.75))
    assert answer.certainty is Certainty.OPEN
    assert shown.advice == "Not settled: use no pruning (p = 0) until more runs settle it."
    assert shown.settings == "With rank 16 (as t0001@p=0)."
    assert answer.probability_best > 0.99, "the best is one of those with p = 0"


def test_a_rate_that_is_worse_is_not_to_be_used(alone):
    answer, shown = first(alone, confirm({0.0: 0.7, 0.2: 0.5}))
    assert answer.certainty is Certainty.SETTLED
    assert (answer.pruning_rate, answer.gain_of) == (0, 0.2)
    assert shown.advice == "Use no pruning (p = 0)."
    assert "p = 0.2 scores \N{MINUS SIGN}" in shown.reason


def test_what_confirmation_leaves_open_is_said_to_be_open(alone):
    answer, shown = first(alone, confirm({0.0: 0.5, 0.2: 0.5}, num_examples=60))
    assert answer.certainty is Certainty.OPEN
    assert shown.advice.endswith("until more runs settle it.")
    assert "the data cannot tell the two apart" in shown.reason


def test_the_search_alone_gives_a_hint(alone):
    alone.trial(0.0, 0.5)
    alone.trial(0.2, 0.55)
    answer, shown = first(alone)
    assert answer.certainty is Certainty.HINT
    assert shown.advice == "Try a pruning rate of 0.2; nothing is confirmed yet."
    assert "cannot tell the two apart" in shown.reason
    assert shown.reason.endswith("Each setting was trained once, so luck is not ruled out.")


def test_where_pruning_loses_the_hint_is_to_leave_it(alone):
    alone.trial(0.0, 0.9)
    alone.trial(0.2, 0.3)
    _, shown = first(alone)
    assert shown.advice == "Try no pruning (p = 0); nothing is confirmed yet."
    assert "That is worse than p = 0, among these trials." in shown.reason


def test_without_a_trial_at_p_0_that_is_said(alone):
    alone.trial(0.2, 0.5)
    _, shown = first(alone)
    assert shown.reason.startswith("No p = 0 trial is complete.")


@pytest.mark.parametrize("state", ["RUNNING", "FAILED", "STOPPED"])
def test_without_a_complete_trial_there_is_no_answer(alone, state):
    alone.trial(0.2, 0.5, state=state)
    answer, shown = first(alone)
    assert answer.certainty is Certainty.NONE
    assert shown.advice == "There is no answer yet."
    seen = {"RUNNING": "unfinished"}.get(state, state.lower())
    assert shown.reason == (
        f"No pruning rate can be chosen yet: no trial that has one is complete (trials: 1 {seen})."
    )


def test_each_benchmark_is_answered_and_the_mean_for_one_adapter(sweep):
    sweep.trial(0.0, (0.9, 0.2))
    sweep.trial(0.2, (0.3, 0.9))
    shown = headline(answers(sweep.facts()))
    assert shown.advice == (
        "Try no pruning (p = 0) on arc, and a pruning rate of 0.2 on gsm; nothing is confirmed yet."
    )
    assert shown.sure == "a hint, not confirmed"
    assert shown.overall == (
        "One adapter for all benchmarks, by their mean: p = 0.2 (a hint, not confirmed)."
    )


def test_a_settled_mean_does_not_hide_an_open_benchmark(sweep):
    sweep.trial(0.0, 0.5)
    sweep.trial(0.2, 0.7)
    settled = [confirm({0.0: 0.5, 0.2: 0.7}, subject=name) for name in ("arc", "mean")]
    is_open = confirm({0.0: 0.5, 0.2: 0.5}, subject="gsm", num_examples=60)
    shown = headline(answers(sweep.facts([*settled, is_open])))
    assert shown.certainty is Certainty.OPEN
    assert shown.sure == "confirmed on arc; still open on gsm"
    rate = is_open.recommended.pruning_rate
    use = f"a pruning rate of {rate:g}" if rate else "no pruning (p = 0)"
    assert shown.advice == (
        f"Use a pruning rate of 0.2 on arc. Not settled: use {use} on gsm until more runs settle "
        "it."
    )
    assert shown.overall.endswith("p = 0.2 (confirmed).")


def test_benchmarks_that_agree_are_answered_at_once(sweep):
    sweep.trial(0.0, 0.5)
    agreed = [confirm({0.0: 0.5, 0.2: 0.7}, subject=name) for name in ("arc", "gsm", "mean")]
    shown = headline(answers(sweep.facts(agreed)))
    assert shown.advice == "Use a pruning rate of 0.2 on every benchmark."
    assert shown.sure == "confirmed"


def test_how_sure_an_answer_is_can_be_told_without_colour():
    assert len({certainty.mark for certainty in Certainty}) == len(Certainty)


def test_the_settings_that_go_with_the_rate_are_named(alone):
    alone.trial(0.0, 0.5)
    alone.trial(0.2, 0.7, rank=16, params={"training.learning_rate": 3e-4})
    _, shown = first(alone)
    assert shown.settings == "With rank 16, learning rate 0.0003 (as t0001)."
    _, shown = first(alone, confirm({0.0: 0.5, 0.2: 0.7}))
    assert shown.settings == "With rank 16, learning rate 0.0003 (as t0001)."


def raced(truths):
    found = race_of(truths)
    decision = decide(found.table, "choice", ARMS, Rule(LOOKS), found.dropped)
    return replace(decision, benchmark="arc")


def test_where_every_rate_was_dropped_p_0_is_used_and_no_rate_is_called_worse(alone):
    alone.trial(0.0, 0.5)
    answer, shown = first(alone, raced([0.65, 0.6, 0.5]))
    assert answer.certainty is shown.certainty is Certainty.UNLIKELY
    assert shown.advice == (
        "Use no pruning (p = 0): the planned seeds are unlikely to show a gain from pruning."
    )
    assert shown.sure == "gain unlikely, not ruled out"
    assert "In arc: p = 0.2 and 0.4 are unlikely to be shown better than p = 0." in shown.reason
    assert "worse" not in answer.sentence


def test_a_dropped_rate_keeps_its_row_which_says_when_it_was_dropped(alone):
    alone.trial(0.0, 0.5)
    [table] = confirmed_tables(alone.facts([raced([0.6, 0.66, 0.3])]))
    labels = [each.cells[0].text for each in table.rows if not each.is_aside]
    assert labels == ["p = 0", "p = 0.2", "p = 0.4, dropped after 3 seeds"]
    assert all(each.cells[2].text for each in table.rows[1:3])
