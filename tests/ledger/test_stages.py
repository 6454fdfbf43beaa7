"""The ledger's record of the two stages of a sweep, and of the test split."""

import ast
import json
from pathlib import Path

import pytest

import droplora_sweep
from droplora_sweep.ledger.reader import Ledger
from droplora_sweep.records.events import EventKind
from droplora_sweep.records.replay import replay
from droplora_sweep.records.trial import Stage, trial_id
from tests.ledger.conftest import answers
from tests.ledgers import KINDS
from tests.recording import planned

ADAPTER = {"adapter_model.safetensors": b"weights", "adapter_config.json": b"{}"}
OF_TEST = {"test_scores", "test_results", "is_tested"}


def confirm(driver, number=0, arm="t0001-00000002"):
    name = trial_id(number, f"{number + 100:08x}", Stage.CONFIRM)
    driver.ledger.trial_started(
        planned(
            name,
            number,
            f"{number + 100:08x}",
            driver.sweep.trial,
            {},
            stage=Stage.CONFIRM,
            arm=arm,
        )
    )
    driver.report(name, 1, score=0.5)
    driver.finish(name)
    return name


def test_a_ledger_of_before_has_search_trials_alone(history, tmp_path):
    history.start_sweep()
    started = history.start(0)
    assert "stage" not in started.payload
    [trial] = replay(history.events, tmp_path).trials
    assert (trial.stage, trial.arm, trial.test_scores) == (Stage.SEARCH, None, {})


def test_the_stages_are_kept_apart(driver):
    searched = driver.run(0)
    confirmed = confirm(driver)
    assert [trial.trial_id for trial in driver.ledger.search_records()] == [searched]
    [trial] = driver.ledger.confirm_records()
    assert (trial.trial_id, trial.number, trial.arm) == (confirmed, 0, "t0001-00000002")
    assert confirmed.startswith("c0000-")


def test_test_scores_come_once_after_the_end_and_change_nothing_else(driver):
    name = confirm(driver)
    before = driver.ledger.trial(name)
    driver.ledger.trial_tested(name, answers(1))
    after = Ledger.open(driver.ledger.storage, "demo").trial(name)
    assert after.test_scores == {"choice": 0.25}
    assert after.metrics == before.metrics
    assert after.results == before.results
    assert driver.ledger.scores(name) != driver.ledger.test_scores(name)
    with pytest.raises(AssertionError, match="is tested once"):
        driver.ledger.trial_tested(name, answers(2))


def test_a_trial_without_an_end_is_not_tested(history, tmp_path):
    history.start_sweep()
    history.start(0)
    history.add(EventKind.TRIAL_TESTED, trial_id="t0000-00000001", scores={}, results="ab")
    with pytest.raises(AssertionError, match="is RUNNING, not tested"):
        replay(history.events, tmp_path)


@pytest.mark.parametrize("folder", ["analysis", "search"])
def test_nothing_that_selects_reads_test_scores(folder):
    for module in sorted((Path(droplora_sweep.__file__).parent / folder).rglob("*.py")):
        tree = ast.parse(module.read_text(encoding="utf-8"))
        read = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        assert not read & OF_TEST, module


def test_the_answer_is_the_same_before_and_after_the_test_split(call, tmp_path):
    storage = tmp_path / "results"
    KINDS["confirmed"](storage, ADAPTER)
    log = storage / "confirmed" / "events.jsonl"
    lines = log.read_bytes().splitlines(keepends=True)
    tested = [json.loads(line)["kind"] == "trial_tested" for line in lines]
    assert any(tested)

    def answer():
        code, printed, complaints = call("best", "confirmed", "--json", "--storage", storage)
        assert (code, complaints) == (0, "")
        chosen = ("benchmark", "pruning_rate", "setting", "trial", "difference", "verdict")
        return [{key: each[key] for key in chosen} for each in json.loads(printed)["benchmarks"]]

    after = answer()
    log.write_bytes(b"".join(lines[: tested.index(True)]))
    assert answer() == after
