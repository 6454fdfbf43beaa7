"""The published view on real MLflow stores."""

import fcntl
import hashlib
import json
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from mlflow import MlflowClient

from droplora_sweep.cli import main
from droplora_sweep.errors import SweepError
from droplora_sweep.ledger.reader import Ledger
from droplora_sweep.mlflow_view.publisher import MlflowPublisher, publish_all
from droplora_sweep.mlflow_view.ui import mlflow_uri
from droplora_sweep.records.trial import SweepOutcome, TrialState
from tests.ledger.conftest import answers


@pytest.fixture(scope="session")
def storage(tmp_path_factory):
    """One store for all tests: its schema takes seconds to make."""
    return tmp_path_factory.mktemp("mlflow") / "results"


@pytest.fixture
def driver(make_driver, storage, request):
    """A sweep of its own in the shared store, named after the test."""
    digest = hashlib.sha256(request.node.name.encode()).hexdigest()[:12]
    return make_driver(f"sweep-{digest}", storage)


def runs_of(driver, uri=None):
    """The parent run and the trials' runs by trial id."""
    client = MlflowClient(uri or mlflow_uri(driver.ledger.storage))
    experiment = client.get_experiment_by_name("droplora/toy")
    wanted = f"tags.sweep_id = '{driver.ledger.record.sweep_id}'"
    runs = client.search_runs([experiment.experiment_id], wanted)
    [parent] = [run for run in runs if "trial_id" not in run.data.tags]
    children = {run.data.tags["trial_id"]: run for run in runs if "trial_id" in run.data.tags}
    assert len(children) == len(runs) - 1, "a trial has two runs"
    return client, parent, children


@pytest.fixture
def load_examples(monkeypatch, storage):
    """Reads a run's table as MLflow's own `load_table` does."""
    # It looks for runs in the process's store, not in its client's.
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_uri(storage))

    def load(client, run_id):
        experiment_id = client.get_run(run_id).info.experiment_id
        return client.load_table(experiment_id, "results.json", [run_id])

    return load


def wait_until(condition, limit_s=20):
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, f"not so within {limit_s} s"
        time.sleep(0.02)


def test_a_sweep_is_published_while_it_runs(driver):
    publisher = MlflowPublisher(driver.ledger)
    complete = driver.run(0)
    stopped = driver.run(1, TrialState.STOPPED, "behind at evaluation 2")
    failed = driver.run(2, TrialState.FAILED, "loss is NaN at step 10")
    driver.ledger.sweep_finished(SweepOutcome.COMPLETE, summary={"README.md": "p = 0.2"})
    report = publisher.close()
    assert report.is_complete, report
    client, parent, children = runs_of(driver)

    assert parent.info.status == "FINISHED"
    assert parent.info.run_name == driver.sweep.name
    counts = {"complete": 1, "stopped": 1, "failed": 1, "running": 0}
    assert parent.data.metrics == {f"trials_{state}": count for state, count in counts.items()}
    links, _, answer = parent.data.tags["mlflow.note.content"].splitlines()
    assert links.startswith("[trials](#/experiments/")
    assert answer == "* p = 0.2"
    assert parent.data.tags["version.torch"] == "2.13.0"
    paths = {item.path for item in client.list_artifacts(parent.info.run_id)}
    assert paths == {"sweep.yaml", "trials.json", "summary"}

    statuses = {name: run.info.status for name, run in children.items()}
    assert statuses == {complete: "FINISHED", stopped: "KILLED", failed: "FAILED"}
    assert children[failed].data.tags["reason"] == "loss is NaN at step 10"
    run = children[complete]
    assert run.info.run_name == "t0000 r=8 p=0.2"
    assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert run.data.tags["fingerprint"] == driver.ledger.trial(complete).fingerprint
    assert float(run.data.params["pruning_rate"]) == 0.2
    assert run.data.metrics["val/choice"] == 0.2
    datasets = {one.dataset.name: one for one in run.inputs.dataset_inputs}
    assert {name: one.dataset.digest for name, one in datasets.items()} == {
        "choice/train": "ab" * 18,
        "choice/test": "cd" * 18,
    }
    contexts = {name: [tag.value for tag in one.tags] for name, one in datasets.items()}
    assert contexts == {"choice/train": ["train"], "choice/test": ["test"]}
    history = client.get_metric_history(run.info.run_id, "val/choice")
    assert [(point.step, point.value) for point in history] == [(10, 0.1), (20, 0.2)]
    assert run.info.end_time == round(driver.ledger.trial(complete).finished.timestamp() * 1000)


def test_the_run_of_a_retried_trial_is_opened_again_and_tells_what_came_of_it(driver):
    publisher = MlflowPublisher(driver.ledger)
    name = driver.run(0, TrialState.FAILED, "loss is NaN at step 20")
    publisher.close()
    _, _, children = runs_of(driver)
    run_id = children[name].info.run_id
    assert children[name].data.tags["published"] == "true"

    publisher = MlflowPublisher(driver.ledger)
    driver.ledger.trial_retried(name, "ann@host")
    driver.ledger.trial_started(driver.ledger.trial(name))
    publisher.close()
    client, _, children = runs_of(driver)
    assert children[name].info.run_id == run_id
    assert children[name].info.status == "KILLED", "it was interrupted"
    assert children[name].data.tags.keys().isdisjoint({"published", "reason"})
    failed_before = "loss is NaN at step 20 (retried by ann@host)"
    assert children[name].data.tags["failed_before.1"] == failed_before

    # It is stopped before it comes as far as the first time.
    publisher = MlflowPublisher(driver.ledger)
    driver.report(name, 1, score=0.7)
    driver.finish(name, TrialState.STOPPED, "behind")
    publisher.close()
    for _ in range(2):
        assert publish_all(driver.ledger).is_complete
        client, parent, children = runs_of(driver)
        run = children[name]
        assert (run.info.run_id, run.info.status) == (run_id, "KILLED")
        assert run.data.tags["retries"] == "1"
        assert (run.data.tags["reason"], run.data.tags["state"]) == ("behind", "STOPPED")
        assert run.data.metrics["val/choice"] == 0.7
        points = client.get_metric_history(run_id, "val/choice")
        assert sorted((point.step, point.value) for point in points) == [
            (10, 0.1),
            (10, 0.7),
            (20, 0.2),
            (20, 0.7),
        ]
        assert parent.data.metrics["trials_failed"] == 0

    # A store that hears of it only now has one run of it, as it is.
    elsewhere = f"sqlite:///{driver.ledger.storage}/elsewhere.db"
    for _ in range(2):
        assert publish_all(driver.ledger, elsewhere).is_complete
        _, _, children = runs_of(driver, elsewhere)
        assert children[name].data.metrics["val/choice"] == 0.7
        assert children[name].data.tags["failed_before.1"] == failed_before


def test_a_run_holds_the_adapter_and_a_table_of_examples(driver, load_examples, tmp_path):
    publisher = MlflowPublisher(driver.ledger)
    name = driver.run(0)
    publisher.close()
    client, _, children = runs_of(driver)
    run_id = children[name].info.run_id
    folder = client.download_artifacts(run_id, "adapter", str(tmp_path))
    published = {path.name: path.read_bytes() for path in Path(folder).iterdir()}
    local = {path.name: path.read_bytes() for path in driver.ledger.trial(name).adapter.iterdir()}
    assert published == local
    assert "README.md" in published
    table = load_examples(client, run_id)
    assert table["example_id"].tolist() == ["e0", "e1", "e2", "e3"]
    assert table["correct"].tolist() == [True, True, False, False]
    assert table["score"].tolist() == [1, 1, 0, 0]
    assert table["sample"].tolist() == [0] * 4
    assert {"turn", "rating", "prompt_digest", "note"} <= set(table.columns)
    assert "results.parquet" in {item.path for item in client.list_artifacts(run_id)}


def test_a_running_trial_is_seen_and_an_interrupted_sweep_ends_its_runs(driver):
    publisher = MlflowPublisher(driver.ledger)
    name = driver.start(0)
    driver.report(name, 1)

    client = MlflowClient(mlflow_uri(driver.ledger.storage))

    def is_seen():
        found = client.get_experiment_by_name("droplora/toy")
        wanted = f"tags.sweep = '{driver.sweep.name}' and tags.trial_id = '{name}'"
        wanted += " and metrics.`val/choice` = 0.5"
        return found and client.search_runs([found.experiment_id], wanted)

    wait_until(is_seen)
    _, parent, children = runs_of(driver)
    assert parent.info.status == children[name].info.status == "RUNNING"
    assert publisher.close().is_complete
    _, parent, children = runs_of(driver)
    assert (parent.info.status, parent.data.tags["state"]) == ("KILLED", "INTERRUPTED")
    assert children[name].info.status == "KILLED"
    assert children[name].data.tags["state"] == "INTERRUPTED"


def test_publishing_again_changes_nothing(driver):
    publisher = MlflowPublisher(driver.ledger)
    for number in range(3):
        driver.run(number)
    driver.start(3)
    publisher.close()
    client, parent, children = runs_of(driver)
    for _ in range(2):
        assert publish_all(Ledger.open(driver.ledger.storage, driver.sweep.name)).is_complete
        _, parent_again, children_again = runs_of(driver)
        assert parent_again.info.run_id == parent.info.run_id
        assert {name: run.info.run_id for name, run in children_again.items()} == {
            name: run.info.run_id for name, run in children.items()
        }
        for name, run in children_again.items():
            assert run.to_dictionary()["data"] == children[name].to_dictionary()["data"]
            history = client.get_metric_history(run.info.run_id, "val/choice")
            assert len(history) == len(driver.ledger.trial(name).evaluations)


def test_sync_of_a_sweep_that_is_driven_shows_it_running(driver, capsys):
    name = driver.start(0)
    for is_live, status in ((True, "RUNNING"), (False, "KILLED")):
        if not is_live:
            driver.ledger.close()
        with pytest.raises(SystemExit) as end:
            main(["sync", driver.sweep.name, "--storage", str(driver.ledger.storage)])
        assert end.value.code == 0, capsys.readouterr().err
        _, parent, children = runs_of(driver)
        assert parent.info.status == children[name].info.status == status


def test_a_publisher_that_died_is_taken_up_by_the_next(driver, load_examples):
    """A run as a crash between two calls leaves it: without its metrics, files and end."""
    name = driver.run(0)
    assert publish_all(driver.ledger).is_complete
    client, parent, children = runs_of(driver)
    run_id = children[name].info.run_id
    client.delete_tag(run_id, "published")
    client.update_run(run_id, status="RUNNING")
    client.delete_tag(run_id, "mlflow.loggedArtifacts")
    client.delete_tag(parent.info.run_id, "state")
    assert publish_all(driver.ledger).is_complete
    _, parent, children = runs_of(driver)
    assert parent.data.tags["state"] == "INTERRUPTED"
    assert children[name].info.run_id == run_id
    assert children[name].info.status == "FINISHED"
    for run in (parent, children[name]):
        assert len(run.inputs.dataset_inputs) == 2
    assert len(client.get_metric_history(run_id, "val/choice")) == 2
    table = load_examples(client, run_id)
    assert len(table) == 4


def test_a_trial_taken_up_again_runs_again_in_its_run(driver):
    name = driver.start(0)
    driver.report(name, 1)
    assert publish_all(driver.ledger).is_complete
    _, _, killed = runs_of(driver)
    publisher = MlflowPublisher(driver.ledger)
    driver.start(0)
    driver.report(name, 1, score=0.7)
    driver.report(name, 2, score=0.8)
    driver.finish(name)
    publisher.close()
    _, _, children = runs_of(driver)
    assert children[name].info.run_id == killed[name].info.run_id
    assert children[name].info.status == "FINISHED"
    assert children[name].data.tags["attempts"] == "2"
    assert children[name].data.tags["state"] == "COMPLETE"
    assert children[name].data.metrics["val/choice"] == 0.8


def test_sweeps_of_one_store_do_not_mix(driver, make_driver, storage):
    other = make_driver(f"{driver.sweep.name}-other", storage)
    for one in (driver, other):
        publisher = MlflowPublisher(one.ledger)
        one.run(0)
        assert publisher.close().is_complete
    assert runs_of(driver)[1].info.run_id != runs_of(other)[1].info.run_id
    assert len(runs_of(driver)[2]) == len(runs_of(other)[2]) == 1


@pytest.fixture
def dead_server(monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    return f"http://127.0.0.1:{port}"


def test_a_dead_server_delays_nothing_and_can_be_made_up_for(driver, dead_server):
    failures = []
    publisher = MlflowPublisher(driver.ledger, dead_server, failures.append)
    start = time.monotonic()
    names = [driver.run(number) for number in range(3)]
    assert time.monotonic() - start < 5
    wait_until(lambda: failures)
    report = publisher.close(timeout_s=30)
    assert set(report.unpublished) == {*names, "sweep"}
    assert "Connection refused" in report.error
    assert len(failures) == 1
    assert all(driver.ledger.trial(name).is_finished for name in names)
    assert publish_all(driver.ledger).is_complete
    assert set(runs_of(driver)[2]) == set(names)


def test_a_server_that_never_answers_is_given_up_in_time(driver, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "4")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        publisher = MlflowPublisher(driver.ledger, f"http://127.0.0.1:{silent.getsockname()[1]}")
        name = driver.run(0)
        start = time.monotonic()
        report = publisher.close(timeout_s=0.5)
        assert time.monotonic() - start < 3
        assert set(report.unpublished) == {name, "sweep"}
        assert report.error is not None


def test_a_trial_that_cannot_be_published_keeps_no_other_from_it(driver):
    names = [driver.run(number) for number in range(3)]
    driver.ledger.trial(names[1]).results.write_bytes(b"not parquet")
    report = publish_all(driver.ledger)
    assert report.unpublished == (names[1],)
    assert report.error.startswith(f"{names[1]}: SweepError: ")
    assert report.error.endswith("results must be readable, but the file is damaged")
    _, parent, children = runs_of(driver)
    assert [children[name].data.tags.get("published") for name in names] == ["true", None, "true"]
    assert {run.info.status for run in children.values()} == {"FINISHED"}
    assert parent.info.status == "KILLED"


def test_a_deleted_experiment_is_reported_not_written_to(make_driver, storage):
    driver = make_driver("deleted", storage, tracking={"experiment": "deleted/toy"})
    assert publish_all(driver.ledger).is_complete
    client = MlflowClient(mlflow_uri(driver.ledger.storage))
    client.delete_experiment(driver.experiment_id(client))
    report = publish_all(driver.ledger)
    assert report.unpublished == ("sweep",)
    assert "must not be deleted; restore it to publish to it" in report.error


def test_a_uri_that_mlflow_refuses_is_refused_before_anything_starts(driver):
    problem = r"^tracking\.mlflow_uri: must begin with one of http://, .*, got ftp://nowhere$"
    with pytest.raises(SweepError, match=problem):
        MlflowPublisher(driver.ledger, "ftp://nowhere")


@pytest.mark.slow
def test_telemetry_is_off_and_logging_quiet_before_mlflow_is_imported():
    program = (
        "import droplora_sweep.mlflow_view, os, json;"
        "from mlflow.telemetry.utils import is_telemetry_disabled;"
        "print(json.dumps([is_telemetry_disabled(), os.environ['MLFLOW_HTTP_REQUEST_TIMEOUT']]))"
    )
    command = [sys.executable, "-c", program]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(result.stdout) == [True, "20"]


@pytest.mark.slow
def test_a_store_that_another_process_holds_up_delays_no_trial(make_driver, tmp_path):
    driver = make_driver("held-up", tmp_path / "fresh")
    lock = driver.ledger.storage / ".mlflow.lock"
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        start = time.monotonic()
        publisher = MlflowPublisher(driver.ledger)
        name = driver.run(0)
        assert time.monotonic() - start < 5
        assert not (driver.ledger.storage / "mlflow.db").exists()
    assert publisher.close(timeout_s=120).is_complete
    assert set(runs_of(driver)[2]) == {name}


FOUR_PUBLISHERS = """
import sys, time
from pathlib import Path
from droplora_sweep.ledger.reader import Ledger
from droplora_sweep.mlflow_view.publisher import publish_all

print("ready", flush=True)
sys.stdin.readline()
report = publish_all(Ledger.open(Path(sys.argv[1]), sys.argv[2]))
assert report.is_complete, report
"""


@pytest.mark.slow
def test_four_processes_open_a_fresh_store_at_once(make_driver, tmp_path):
    drivers = [make_driver(f"sweep-{index}", tmp_path / "fresh") for index in range(4)]
    names = [driver.run(0) for driver in drivers]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", FOUR_PUBLISHERS, str(tmp_path / "fresh"), driver.sweep.name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for driver in drivers
    ]
    assert [process.stdout.readline() for process in processes] == ["ready\n"] * 4
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    for process in processes:
        _, complaints = process.communicate(timeout=200)
        assert process.returncode == 0, complaints
    for driver, name in zip(drivers, names, strict=True):
        assert set(runs_of(driver)[2]) == {name}


def test_a_winners_test_scores_are_added_to_its_published_run(driver):
    name = driver.run(0)
    assert publish_all(driver.ledger).is_complete
    driver.ledger.trial_tested(name, answers(1))
    for _ in range(2):
        assert publish_all(driver.ledger).is_complete
    client, _, children = runs_of(driver)
    run = children[name]
    assert run.data.metrics["test/choice"] == 0.25
    assert len(client.get_metric_history(run.info.run_id, "test/choice")) == 1
    assert "test_results.parquet" in {each.path for each in client.list_artifacts(run.info.run_id)}
    assert (run.data.tags["stage"], run.data.tags["tested"]) == ("search", "true")


MAKES_A_STORE = """
import sys
from pathlib import Path
from droplora_sweep.mlflow_view.client import connect
connect(Path(sys.argv[1]), None)
"""


@pytest.mark.slow
def test_a_store_whose_making_was_killed_is_made_anew(make_driver):
    driver = make_driver()
    driver.run(0)
    storage = driver.ledger.storage
    command = [sys.executable, "-c", MAKES_A_STORE, str(storage)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as making:
        while not any(path.stat().st_size for path in storage.glob(".mlflow.db.new")):
            assert making.poll() is None
            time.sleep(0.001)
        making.kill()
    assert not (storage / "mlflow.db").exists(), "killed in the middle of it"
    report = publish_all(driver.ledger)
    assert report.is_complete, report.error
    assert not list(storage.glob(".mlflow.db*"))


def test_the_parent_run_shows_what_needs_no_training_once(driver):
    publisher = MlflowPublisher(driver.ledger)
    driver.run(0)
    driver.ledger.reference_scored(
        "validation", answers(1), {"choice": ("a", 0.75)}, {"choice": 0.25}
    )
    driver.ledger.reference_scored("test", answers(3), {}, {})
    driver.ledger.sweep_finished(SweepOutcome.COMPLETE)
    assert publisher.close().is_complete
    assert publish_all(driver.ledger).is_complete
    client, parent, _ = runs_of(driver)
    metrics = parent.data.metrics
    assert metrics["untrained/val/choice"] == 0.25
    assert metrics["most_frequent/val/choice"] == 0.75
    assert metrics["chance/val/choice"] == 0.25
    assert metrics["untrained/test/choice"] == 0.75
    assert parent.data.tags["most_frequent.val.choice"] == "a"
    assert len(client.get_metric_history(parent.info.run_id, "untrained/val/choice")) == 1
