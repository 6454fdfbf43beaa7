import json
import math
import os
import resource
import subprocess
import sys

import optuna
import pytest
import yaml

from droplora_sweep.analysis.search_decision import Verdict, best_per_benchmark
from droplora_sweep.errors import SweepError
from droplora_sweep.ledger.files import read_results, verify_adapter
from droplora_sweep.ledger.reader import Ledger, has_sweep, sweep_names
from droplora_sweep.records.trial import SweepOutcome, TrialState
from droplora_sweep.spec import SweepSpec
from tests.recording import evaluated

LIGHT = """
import sys
import droplora_sweep.analysis.winners
from droplora_sweep.ledger.reader import Ledger
from pathlib import Path
Ledger.open(Path(sys.argv[1]), "demo").records()
print(*sorted({"mlflow", "optuna", "torch", "ray", "transformers", "pyarrow"} & sys.modules.keys()))
"""


def test_a_reader_sees_what_the_driver_wrote(driver):
    name = driver.run(0)
    driver.start(1)
    read = Ledger.open(driver.ledger.storage, "demo")
    assert read.record == driver.ledger.record
    complete, running = read.records()
    assert complete == read.trial(name)
    assert complete.state is TrialState.COMPLETE
    assert complete.metrics == {"val/choice": 0.2, "val/mean": 0.2, "train/loss": 0.5}
    assert running.state is TrialState.RUNNING
    assert running.params == {"adapter.rank": 8, "adapter.pruning_rate": 0.2}
    assert running.spec["adapter"]["pruning_rate"] == 0.2
    assert read.record.data_digests == {"choice/train": "ab" * 32, "choice/test": "cd" * 32}
    assert read.torn is None


def test_a_finished_trial_has_its_files(driver):
    trial = driver.ledger.trial(driver.run(0))
    verify_adapter(trial.adapter, trial.adapter_digest)
    first, *_ = rows = read_results(trial.results)
    assert len(rows) == 4
    assert first == {
        "benchmark": "choice",
        "example_id": "e0",
        "response": "A: a",
        "prediction": None,
        "gold": "a",
        "correct": True,
        "num_tokens": 7,
        "log_probability": None,
        "protocol": "paper",
        "score": 1.0,
        "rating": None,
        "sample": 0,
        "turn": 1,
        "prompt_digest": None,
        "note": None,
        "reference_log_probability": None,
        "reference_bytes": None,
    }
    right = driver.ledger.scores(trial.trial_id)
    assert right == {"choice": {"e0": True, "e1": True, "e2": False, "e3": False}}
    described = json.loads((trial.adapter.parent / "trial.json").read_text())
    assert described["fingerprint"] == trial.fingerprint


def test_the_model_card_tells_how_the_adapter_came_to_be(driver):
    card = (driver.ledger.trial(driver.run(0)).adapter / "README.md").read_text()
    _, head, body = card.split("---\n", 2)
    assert yaml.safe_load(head) == {
        "base_model": "builtin",
        "library_name": "peft",
        "tags": ["droplora", "lora"],
        "pruning_rate": 0.2,
        "mask": "token",
    }
    assert "| choice | 0.2000 |" in body
    assert "DropLoRA (pruning rate 0.2, mask per token) of rank 8" in body
    settings = yaml.safe_load(body.partition("```yaml\n")[2].partition("```")[0])
    assert settings == driver.ledger.records()[0].spec


def test_a_failed_trial_keeps_its_reason_and_needs_no_files(driver):
    name = driver.start(0)
    driver.ledger.trial_reported(
        name, evaluated(1, 10, {"train/loss": math.nan}, num_evaluations=2)
    )
    driver.ledger.trial_finished(name, TrialState.FAILED, reason="loss is NaN at step 10")
    trial = Ledger.open(driver.ledger.storage, "demo").trial(name)
    assert (trial.state, trial.reason) == (TrialState.FAILED, "loss is NaN at step 10")
    assert trial.adapter is None
    assert driver.ledger.scores(name) is None
    assert math.isnan(trial.metrics["train/loss"])


def test_an_event_that_cannot_be_leaves_no_trace(driver):
    name = driver.run(0)
    before = (driver.ledger.directory / "events.jsonl").read_bytes()
    with pytest.raises(AssertionError, match="t0000-00000001 has already ended"):
        driver.finish(name)
    with pytest.raises(AssertionError, match="finished trial t0000-00000001"):
        driver.report(name, 3)
    assert (driver.ledger.directory / "events.jsonl").read_bytes() == before


def test_a_disk_that_is_full_leaves_the_trial_running_and_no_half_adapter(driver):
    name = driver.start(0)
    before = sorted(driver.ledger.directory.rglob("*"))
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(SweepError, match=rf"trials/{name}: cannot write: File too large"):
            driver.finish(name, adapter_files={"adapter_model.safetensors": bytes(200_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    assert sorted(driver.ledger.directory.rglob("*")) == before
    driver.finish(name)
    assert Ledger.open(driver.ledger.storage, "demo").trial(name).state is TrialState.COMPLETE


def test_no_secret_of_an_error_is_kept(driver, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "tulip-in-march")
    name = driver.start(0)
    driver.finish(name, TrialState.FAILED, "refused tulip-in-march at http://ann:rose@host")
    driver.ledger.sweep_finished(
        SweepOutcome.FAILED,
        reason="lost http://ann:rose@host",
        summary={"README.md": "tulip-in-march"},
    )
    record = Ledger.open(driver.ledger.storage, "demo").record
    assert record.trials[0].reason == "refused [redacted] at http://ann:[redacted]@host"
    assert record.reason == "lost http://ann:[redacted]@host"
    written = [path for path in driver.ledger.directory.rglob("*") if path.is_file()]
    assert len(written) > 4
    assert [path for path in written if b"tulip" in path.read_bytes()] == []
    assert [path for path in written if b"rose" in path.read_bytes()] == []


def test_the_sweep_ends_with_an_outcome_and_a_summary(driver):
    driver.ledger.sweep_finished(SweepOutcome.COMPLETE, summary={"decisions.txt": "p = 0.2\n"})
    assert Ledger.open(driver.ledger.storage, "demo").record.outcome is SweepOutcome.COMPLETE
    assert (driver.ledger.summary_directory / "decisions.txt").read_text() == "p = 0.2\n"


def test_listeners_hear_of_events_that_are_on_the_disk(driver):
    heard = []
    path = driver.ledger.directory / "events.jsonl"
    driver.ledger.subscribe(lambda event: heard.append((event.kind, path.read_text().count("\n"))))
    driver.run(0)
    kinds = ["trial_started", "trial_reported", "trial_reported", "trial_finished"]
    assert heard == list(zip(kinds, (2, 3, 4, 5), strict=True))


def test_the_spec_is_kept_as_it_was_resolved(driver):
    kept = yaml.safe_load((driver.ledger.directory / "sweep.yaml").read_text())
    assert SweepSpec.model_validate(kept) == driver.sweep


def test_everything_is_the_owner_s_alone(driver):
    driver.run(0)
    assert driver.ledger.study.study_name == "demo"
    paths = [driver.ledger.storage, *driver.ledger.storage.rglob("*")]
    assert {path.stat().st_mode & 0o077 for path in paths} == {0}


def test_the_study_maximises_and_is_there_the_next_time(driver):
    driver.ledger.study.add_trial(optuna.trial.create_trial(value=0.5))
    study = Ledger.open(driver.ledger.storage, "demo").study
    assert study.direction is optuna.study.StudyDirection.MAXIMIZE
    assert study.best_value == 0.5


def test_a_taken_name_is_refused(driver, make_driver):
    with pytest.raises(SweepError) as caught:
        make_driver()
    storage = driver.ledger.storage
    assert str(caught.value) == (
        f"name: must be new in {storage}, got demo, which exists; choose another with --name"
    )


@pytest.mark.parametrize("name", ["mlflow.db", "mlartifacts"])
def test_names_of_the_mlflow_store_are_refused(tmp_path, name):
    rule = rf"name: must not be one of mlartifacts, mlflow\.db, got {name}"
    with pytest.raises(SweepError, match=rule):
        has_sweep(tmp_path, name)


def test_storage_that_cannot_be_a_folder_is_refused(make_driver, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SweepError, match=r"storage: cannot create .*: File exists"):
        make_driver(storage=tmp_path / "file" / "results")


def test_an_unknown_sweep_is_refused_with_the_known_ones(make_driver):
    storage = make_driver("one").ledger.storage
    make_driver("two")
    assert sweep_names(storage) == ["one", "two"]
    with pytest.raises(SweepError) as caught:
        Ledger.open(storage, "three")
    assert str(caught.value) == f"name: must be a sweep in {storage}, got 'three'; it has one, two"


def test_an_unknown_sweep_of_no_storage_is_refused(tmp_path):
    with pytest.raises(SweepError, match="got 'demo'; it has none"):
        Ledger.open(tmp_path / "nowhere", "demo")


def test_a_torn_log_is_read_and_told(driver):
    driver.run(0)
    path = driver.ledger.directory / "events.jsonl"
    os.truncate(path, path.stat().st_size - 5)
    read = Ledger.open(driver.ledger.storage, "demo")
    assert read.records()[0].state is TrialState.RUNNING
    assert read.torn.startswith(f"{path}:5: must end in ")


def test_a_sweep_cut_off_at_birth_is_named(driver):
    os.truncate(driver.ledger.directory / "events.jsonl", 0)
    with pytest.raises(SweepError, match="demo: the sweep was interrupted before it started"):
        Ledger.open(driver.ledger.storage, "demo")


def test_reading_needs_nothing_heavy(driver):
    driver.run(0)
    command = [sys.executable, "-c", LIGHT, str(driver.ledger.storage)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == ""


def test_decisions_are_made_from_the_ledger_as_it_is(driver):
    unpruned = driver.start(0, pruning_rate=0.0)
    driver.report(unpruned, 1, score=0.5)
    driver.finish(unpruned)
    pruned = driver.start(1, pruning_rate=0.3)
    driver.report(pruned, 1, score=1.0)
    driver.finish(pruned, num_correct=4)
    ledger = Ledger.open(driver.ledger.storage, "demo")
    [decision] = best_per_benchmark(ledger.records(), ledger.scores)
    assert decision.best.trial_id == pruned
    assert decision.unpruned.trial_id == unpruned
    assert decision.paired_test.difference.value == 0.5
    assert decision.verdict is Verdict.CANNOT_TELL
