"""Tables have a column of bits per byte where a trial has measured them, and none elsewhere."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from droplora_sweep.evaluation.results import ExampleResult
from droplora_sweep.present.contents.scores import scores_table
from droplora_sweep.present.contents.trials import trials_tables
from droplora_sweep.present.values import DASH
from tests.search.test_likelihood_metric import BITS, SCORE, make_sweep, trial_of


def texts(table: Any, column: str) -> list[str]:
    place = table.columns.index(column)
    return [row.cells[place].text for row in table.rows]


def test_trials_show_it_beside_their_scores() -> None:
    sweep = make_sweep(BITS)
    measured = trial_of(0, 0.75, sweep)
    older = replace(trial_of(1, 0.5, sweep), metrics={SCORE: 0.5})
    record: Any = SimpleNamespace(
        name="s", search_trials=[measured, older], confirm_trials=[], spec=sweep.model_dump()
    )
    [table] = trials_tables(record, is_live=False)
    assert texts(table, "bits per byte") == ["0.2500", DASH]
    assert texts(table, "mean") == ["75.0 %", "50.0 %"]
    record.search_trials = [older]
    [table] = trials_tables(record, is_live=False)
    assert "bits per byte" not in table.columns


def test_members_of_a_population_are_listed_by_it() -> None:
    population = {
        "sampler": "random",
        "stopping": "none",
        "population": {},
        "queue_baselines": False,
        "num_trials": 8,
    }
    sweep = make_sweep(BITS, search=population)
    trials = [trial_of(0, 0.25, sweep), trial_of(1, 0.75, sweep)]
    trials.append(replace(trial_of(2, 0.9, sweep), metrics={SCORE: 0.9}))
    record: Any = SimpleNamespace(
        name="s", search_trials=trials, confirm_trials=[], spec=sweep.model_dump()
    )
    *_, table = trials_tables(record, is_live=False)
    assert texts(table, BITS) == ["0.2500", "0.7500", DASH]
    assert texts(table, "trial") == ["t0001", "t0000", "t0002"]


def test_what_is_scored_outside_a_sweep_shows_it() -> None:
    nats = 0.6931471805599453
    right = ExampleResult(
        *("choice", "e0", "a", "a", "a", True, 1),
        reference_log_probability=-nats,
        reference_bytes=4,
    )
    chat = ExampleResult("chat", "e0", "a", None, "", None, 1, rating=8.0)
    scored: Any = SimpleNamespace(
        what="adapter",
        split="test",
        protocol="paper",
        results=[right, chat],
        scores={"choice": 1.0, "chat": 0.8, "mean": 0.9},
        metrics={},
        perplexity={},
        num_long={},
        generated=None,
    )
    table = scores_table(scored, "truncate")
    assert texts(table, "bits per byte") == ["0.2500", DASH, "0.2500"]
