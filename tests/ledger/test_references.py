"""The untrained model's scores in the ledger: recorded once, read again, absent in old ledgers."""

from __future__ import annotations

import pytest

from droplora_sweep.ledger.reader import Ledger
from droplora_sweep.ledger.writer import LedgerWriter
from tests.ledger.conftest import answers

FREQUENT = {"choice": ("a", 0.75)}
CHANCE = {"choice": 0.25}


def test_a_reference_is_read_as_it_was_recorded(driver, tmp_path):
    recorded = driver.ledger.reference_scored("validation", answers(1), FREQUENT, CHANCE)
    assert recorded.untrained == {"choice": 0.25}
    assert (recorded.most_frequent, recorded.chance) == (FREQUENT, CHANCE)
    ledger = Ledger.open(tmp_path / "results", "demo")
    assert ledger.record.references == {"validation": recorded}
    scores = {"choice": {"e0": 1.0, "e1": 0.0, "e2": 0.0, "e3": 0.0}}
    assert ledger.untrained_scores("validation") == scores
    assert ledger.untrained_scores("test") is None


def test_each_split_has_its_own_and_is_recorded_once(driver):
    driver.ledger.reference_scored("validation", answers(1), FREQUENT, CHANCE)
    driver.ledger.reference_scored("test", answers(2), {}, {})
    assert sorted(driver.ledger.record.references) == ["test", "validation"]
    with pytest.raises(AssertionError, match="validation is scored once"):
        driver.ledger.reference_scored("validation", answers(1), FREQUENT, CHANCE)


def test_a_resumed_sweep_still_has_it_and_an_older_one_has_none(driver, tmp_path):
    assert driver.ledger.record.references == {}
    driver.ledger.reference_scored("validation", answers(1), FREQUENT, CHANCE)
    driver.ledger.close()
    resumed = LedgerWriter.resume(tmp_path / "results", driver.sweep)
    assert resumed.record.references["validation"].untrained == {"choice": 0.25}
    resumed.close()


def test_a_trials_answers_are_counted_with_the_right_ones(driver):
    name = driver.run(0)
    [counts] = driver.ledger.answers(name).values()
    assert counts.given == {"a": 3, None: 1}
    assert counts.right == {"a": 4}
