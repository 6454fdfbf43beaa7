"""`diff` shows the examples on which two settings disagree; the report those of its answer."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from droplora_sweep.evaluation.results import ExampleResult
from droplora_sweep.ledger.reader import Ledger
from droplora_sweep.present.contents.differences import answer_differences
from droplora_sweep.present.contents.facts import facts_of
from droplora_sweep.present.contents.sides import Sides
from droplora_sweep.present.report.page import make_report
from droplora_sweep.records.trial import TrialState
from droplora_sweep.run.deciding import confirmed
from droplora_sweep.tasks.loading import load_task
from tests.ledgers import KINDS, Driver, make_sweep

if TYPE_CHECKING:
    from pathlib import Path

ADAPTER = {"adapter_config.json": b"{}"}
HOSTILE = "\x1b[2J[bold]yes[/bold]\u202e<script>"


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("differences")
    KINDS["confirmed"](folder, ADAPTER)
    return folder


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A search whose two trials answer real questions, and one of the questions."""
    folder = tmp_path_factory.mktemp("asked")
    driver = Driver(folder, make_sweep("asked", ("builtin_choice",)), ADAPTER)
    [benchmark] = load_task(driver.sweep.task).benchmarks
    examples = benchmark.validation[:6]
    for rate in (0.2, 0.0):
        name = driver.start(rate)
        driver.report(name)
        results = [
            ExampleResult(
                "builtin_choice",
                example.digest,
                HOSTILE if index == 0 and rate else "response",
                None if index == 0 and rate else example.answer,
                example.answer,
                index > 0 or rate == 0,
                1,
            )
            for index, example in enumerate(examples)
        ]
        driver.ledger.trial_finished(name, TrialState.COMPLETE, results=results)
    driver.end()
    return folder, examples[0].instruction


def as_json(call: Any, storage: Path, *arguments: str) -> Any:
    code, printed, complaints = call("diff", *arguments, "--json", "--storage", storage)
    assert (code, complaints) == (0, "")
    return json.loads(printed)["benchmarks"]


def test_the_difference_is_the_one_that_best_gives(call: Any, storage: Path) -> None:
    ledger = Ledger.open(storage, "confirmed")
    for decision in confirmed(ledger):
        for rate in decision.rates:
            if rate.difference is None or decision.benchmark == "mean":
                continue
            [found] = as_json(
                call,
                storage,
                "confirmed",
                f"p={rate.arm.pruning_rate:g}",
                "p = 0",
                "--benchmark",
                decision.benchmark,
            )
            assert found["first"]["setting"] == rate.arm.name
            assert found["difference"] == pytest.approx(rate.difference.estimate.value, abs=1e-12)
            gap = found["only_first"] - found["only_second"]
            assert gap / found["num_answers"] == pytest.approx(found["difference"], abs=1e-12)
            four = ("only_first", "only_second", "both", "neither")
            assert sum(found[name] for name in four) == found["num_answers"]


def test_a_setting_is_named_by_trial_number_arm_or_rate(storage: Path) -> None:
    ledger = Ledger.open(storage, "confirmed")
    first, second = ledger.record.search_trials[:2]
    sides = Sides(ledger)
    for way in ("p=0.2", "p = 0.2", "0.2", "t0000", "0", first.trial_id):
        one, other = sides.pair(way, "t0001", "builtin_choice")
        assert (one.name, other.name) == (first.trial_id, second.trial_id)
        assert one.split == other.split == "confirmation"
        assert len(one.runs) >= 3
    # Its control, which is the same setting without its pruning.
    control, _ = sides.pair("t0000@p=0", second.trial_id, "builtin_choice")
    assert control.name == f"{first.trial_id}@p=0"
    assert control.label == "p = 0 (t0000@p=0)"
    # One that was not confirmed is compared as a trial of the search, and so is the other.
    for each in sides.pair("t0003", "t0000", "builtin_choice"):
        assert (each.split, len(each.runs)) == ("validation", 1)


def test_what_cannot_be_compared_is_one_line(call: Any, storage: Path) -> None:
    cases = {
        ("p=0", "p=0.7"): "B: must have a complete run with results, got p = 0.7\n",
        ("p=x", "p=0"): "A: must be a rate such as p=0.2, got x\n",
        ("p=0.2", "t0000"): "B: must be another setting than A, got t0000-",
        ("t0002@p=0", "p=0"): "A: must be an arm of the confirmation (t0001-",
        ("p=0", "p=0.2", "--benchmark", "arc"): "--benchmark: must be one of builtin_choice, ",
        ("t0009", "p=0"): "trial: must be one of confirmed's, got t0009; ",
    }
    for arguments, start in cases.items():
        code, printed, complaints = call("diff", "confirmed", *arguments, "--storage", storage)
        assert (code, printed) == (1 if start.startswith("trial") else 2, "")
        assert complaints.startswith(start), complaints
        assert complaints.count("\n") == 1
    run = Ledger.open(storage, "confirmed").record.confirm_trials[0].trial_id
    code, _, complaints = call("diff", "confirmed", run, "t0003", "--storage", storage)
    assert code == 2
    assert complaints.startswith("B: must be scored on the same split as A, got p = ")


def test_examples_are_shown_with_question_and_answers_and_nothing_moves_the_cursor(
    call: Any, asked: tuple[Path, str]
) -> None:
    storage, question = asked
    code, printed, complaints = call("diff", "asked", "p=0.2", "p=0", "--storage", storage)
    assert (code, complaints) == (0, "")
    assert printed.isprintable() or set(printed) - {"\n"} == {*filter(str.isprintable, printed)}
    text = " ".join(printed.replace("│", " ").split())
    assert "builtin_choice: p = 0.2 (t0000) against p = 0 (t0001)" in text
    assert "only the first right on 0 (0.0 %), only the second on 1 (16.7 %)" in text
    assert "both right on 5 (83.3 %), both wrong on 0 (0.0 %)" in text
    assert "\\u001b[2J[bold]yes[/bold]\\u202e<script>" in "".join(printed.replace("│", " ").split())
    assert "right 0/1" in text
    assert "Each has one seed" in text
    assert "Questions are given by the ids" not in text
    [found] = as_json(call, storage, "asked", "p=0.2", "p=0")
    [example] = found["examples"]
    assert example["question"].startswith(question)
    assert example["first"]["answer"] == HOSTILE
    assert found["lacks_questions"] is None


def test_data_that_is_not_the_sweeps_gives_ids(call: Any, storage: Path) -> None:
    [found, _] = as_json(call, storage, "confirmed", "p=0.2", "p=0", "--limit", "2")
    assert len(found["examples"]) == 2
    assert found["num_differing"] > 2
    assert found["lacks_questions"] == "the data has other examples than the sweep was scored on"
    assert found["examples"][0]["question"] is None
    assert found["examples"][0]["example_id"].startswith("e")


def test_the_report_shows_where_the_answer_comes_from(
    storage: Path, asked: tuple[Path, str]
) -> None:
    ledger = Ledger.open(storage, "confirmed")
    found = answer_differences(ledger, facts_of(ledger), 5)
    assert [one.benchmark for one in found] == ["builtin_choice", "builtin_math"]
    for one in found:
        assert one.sides[0].pruning_rate > 0
        assert one.sides[1].pruning_rate == 0
        assert len(one.examples) <= 5
    searched = Ledger.open(asked[0], "asked")
    facts = facts_of(searched)
    html = make_report(facts, answer_differences(searched, facts, 5)).html
    assert "Where the answer comes from" in html
    assert "&lt;script&gt;" in html
    assert "\x1b" not in html
    assert "<script" not in html
    assert "Where the answer comes from" not in make_report(facts).html
