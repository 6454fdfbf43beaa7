"""The rates that an answer speaks of by name, and those that it says it does not speak of."""

from __future__ import annotations

import numpy as np
import pytest

from droplora_sweep.analysis.comparisons import (
    affordable_comparisons,
    choose_comparisons,
    ties_text,
)
from droplora_sweep.analysis.confirmed import Rule, decide
from droplora_sweep.analysis.evidence import Arm, ScoreTable
from droplora_sweep.analysis.search_decision import best_per_benchmark
from droplora_sweep.analysis.text import arm_labels, confirmed_text, decision_text, verdict_text
from droplora_sweep.analysis.winners import coverage_text
from tests.analysis.synthetic import World, arms_of, table_of
from tests.analysis.test_search_decision import record

LISTED = {"adapter.pruning_rate": {"values": [0.0, 0.2, 0.4, 0.6]}}
STEPPED = {"adapter.pruning_rate": {"min": 0.0, "max": 0.6, "step": 0.2}}
CONTINUOUS = {"adapter.pruning_rate": {"min": 0.0, "max": 0.5}}


def decided(rates, truths, num_seeds=5, num_examples=400, rule=None, draw=0):
    scores_ASE = World().scores(truths, num_seeds, num_examples, np.random.default_rng(draw))
    table = table_of(rates, choice=scores_ASE)
    return decide(table, "choice", arms_of(rates), rule or Rule(looks=(num_seeds,)))


def test_the_one_rate_that_was_confirmed_is_named_and_not_called_every_other():
    """One rate was confirmed, and 0.2 never tried."""
    decision = decided([0.0, 0.4], [0.65, 0.45])
    text = confirmed_text(decision)
    assert text.startswith("choice: use p = 0 (t0000): p = 0.4 is worse than p = 0; ")
    assert "every" not in text
    records = [record(0, 0.0, choice=0.65), record(1, 0.4, choice=0.6)]
    assert coverage_text(LISTED, records, [decision]) == (
        "Not decided: p = 0.2 and 0.6 (never tried)."
    )


@pytest.mark.parametrize("space", [LISTED, STEPPED])
def test_each_rate_that_was_not_confirmed_is_named_with_how_far_it_was_tried(space):
    decision = decided([0.0, 0.2], [0.5, 0.7])
    records = [
        record(0, 0.0, choice=0.5),
        record(1, 0.2, choice=0.6),
        record(2, 0.4, choice=0.55),
        record(3, 0.6, state="STOPPED", choice=0.1),
    ]
    assert coverage_text(space, records, [decision]) == (
        "Not decided: p = 0.4 (searched, not confirmed); p = 0.6 (no trial is complete)."
    )
    assert coverage_text(space, records, []) == ("Not decided: p = 0.6 (no trial is complete).")


def test_where_every_rate_was_confirmed_there_is_nothing_to_add():
    rates = [0.0, 0.2, 0.4, 0.6]
    decision = decided(rates, [0.7, 0.5, 0.45, 0.3])
    records = [record(number, rate, choice=0.5) for number, rate in enumerate(rates)]
    assert coverage_text(LISTED, records, [decision]) == ""
    assert verdict_text(decision) == "p = 0.2, 0.4 and 0.6 are worse than p = 0"


def test_the_rates_of_a_continuous_space_cannot_all_be_tried():
    records = [record(0, 0.0, choice=0.5), record(1, 0.31, choice=0.6)]
    assert coverage_text(CONTINUOUS, records, []) == (
        "Not decided: any other rate from 0 to 0.5 (never tried)."
    )


def test_a_rate_that_is_not_searched_leaves_nothing_untried():
    assert coverage_text({}, [record(0, 0.2, choice=0.5)], []) == ""


def test_rates_that_differ_in_what_is_said_of_them_are_told_apart():
    decision = decided([0.0, 0.2, 0.6], [0.6, 0.61, 0.3])
    assert verdict_text(decision) == (
        "p = 0.6 is worse than p = 0, cannot tell p = 0.2 from p = 0 yet"
    )


def test_a_rate_is_not_simply_worse_where_its_own_control_leaves_that_open():
    """The settings that were found for 0.2 are worse; whether pruning is, is not known."""
    arms = (Arm("t0000", 0.0), Arm("t0001", 0.2, "t0001@p=0"), Arm("t0001@p=0", 0.0))
    scores_ASE = World().scores([0.65, 0.50, 0.50], 5, 400, np.random.default_rng(0))
    table = ScoreTable((arms[0], arms[2], arms[1]), tuple(range(5)), {"choice": scores_ASE})
    decision = decide(table, "choice", arms, Rule(looks=(5,)))
    own = decision.rates[1].own_difference.estimate
    assert own.low <= 0 <= own.high
    assert verdict_text(decision) == (
        "p = 0.2 is worse than p = 0, but it is open whether p = 0 with the settings of p = 0.2 is "
        "better too"
    )
    labels = arm_labels(decision)
    assert list(labels.values()) == ["p = 0", "p = 0.2", "p = 0, settings of 0.2"]


def test_a_rate_that_tied_in_the_search_and_was_left_out_is_named():
    records = [
        record(0, 0.0, choice=0.5),
        record(1, 0.2, choice=0.6),
        record(2, 0.4, choice=0.6),
        record(3, 0.6, choice=0.55),
    ]
    [comparison] = choose_comparisons(records, num_rates=1)
    assert comparison.tied == (0.4,)
    assert ties_text([comparison]).startswith(
        "Tied in the search with a confirmed rate, and not confirmed: p = 0.4 on choice."
    )
    [both] = choose_comparisons(records, num_rates=2)
    assert both.tied == ()
    assert ties_text([both]) == ""
    [few] = affordable_comparisons(records, num_rates=2, num_seeds=3, max_runs=6)
    assert few.tied == (0.4,), "without room"


def test_the_search_names_a_rate_that_scores_as_well_as_its_best():
    records = [
        record(0, 0.0, choice=0.5),
        record(1, 0.2, choice=0.6),
        record(2, 0.4, choice=0.6),
    ]
    [decision] = best_per_benchmark(records)
    assert [one.pruning_rate for one in decision.tied] == [0.4]
    assert "; p = 0.4 (t0002-00000002) scores the same; " in decision_text(decision)


def test_what_cannot_be_told_apart_is_said_once():
    text = confirmed_text(decided([0.0, 0.2], [0.6, 0.6], num_seeds=3, num_examples=60))
    assert text.count("cannot tell") == 1
