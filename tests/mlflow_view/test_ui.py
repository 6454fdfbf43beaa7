"""The command that opens the MLflow UI."""

import json
import os
import socket
import urllib.error
import urllib.request
from base64 import b64encode
from pathlib import Path

import pytest

from droplora_sweep.cli import main
from droplora_sweep.errors import SweepError
from droplora_sweep.ledger.files import verify_adapter
from droplora_sweep.mlflow_view.ui import ui_command, ui_login
from tests.mlflow_ui import running_ui


def test_the_ui_listens_on_this_machine_alone_and_is_small():
    command, environment = ui_command(Path("/data/results"), port=5050)
    arguments = command[command.index("mlflow") :]
    assert (
        arguments[arguments.index("--backend-store-uri") + 1] == "sqlite:////data/results/mlflow.db"
    )
    assert arguments[arguments.index("--host") + 1] == "127.0.0.1"
    assert arguments[arguments.index("--port") + 1] == "5050"
    assert arguments[arguments.index("--workers") + 1] == "1"
    assert environment["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] == "false"
    assert environment["MLFLOW_DISABLE_TELEMETRY"] == environment["DO_NOT_TRACK"] == "true"


def test_any_store_can_be_opened():
    command, _ = ui_command("postgresql://host/mlflow")
    assert command[command.index("--backend-store-uri") + 1] == "postgresql://host/mlflow"


def test_a_server_needs_no_ui_of_ours():
    with pytest.raises(SweepError) as caught:
        ui_command("http://mlflow:5000")
    assert str(caught.value) == (
        "tracking.mlflow_uri: http://mlflow:5000 is a server; open it in a browser"
    )


def answer(url, data=None):
    """The server's answer to the storage's owner, or to any user where no password is set."""
    body = None if data is None else json.dumps(data).encode()
    headers = {"Content-Type": "application/json"}
    if password := os.environ.get("MLFLOW_TRACKING_PASSWORD"):
        user = os.environ["MLFLOW_TRACKING_USERNAME"]
        headers["Authorization"] = "Basic " + b64encode(f"{user}:{password}".encode()).decode()
    request = urllib.request.Request(url, body, headers)
    with urllib.request.urlopen(request, timeout=10) as response:
        return response.read()


@pytest.fixture
def ui(driver, tmp_path, monkeypatch):
    """The UI as a user starts it, from a folder of their own; its address.

    This process has its password in the environment, where MLflow's client looks for it.
    """
    from droplora_sweep.mlflow_view.publisher import publish_all

    assert publish_all(driver.ledger).is_complete
    login = ui_login(driver.ledger.storage)
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", login.user)
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", login.password)
    folder = tmp_path / "cwd"
    folder.mkdir()
    with running_ui(driver.ledger.storage, folder, tmp_path / "ui.log", login) as address:
        yield address
    assert list(folder.iterdir()) == []


@pytest.mark.slow
def test_the_ui_shows_the_runs_and_their_examples(driver, ui):
    from droplora_sweep.mlflow_view.publisher import publish_all

    name = driver.run(0)
    assert publish_all(driver.ledger).is_complete
    assert b"<title>MLflow</title>" in answer(ui)
    found = json.loads(
        answer(
            f"{ui}/api/2.0/mlflow/experiments/search",
            {"filter": "name = 'droplora/toy'", "max_results": 5},
        )
    )
    ids = [experiment["experiment_id"] for experiment in found["experiments"]]
    query = {"experiment_ids": ids, "filter": f"tags.trial_id = '{name}'"}
    [run] = json.loads(answer(f"{ui}/api/2.0/mlflow/runs/search", query))["runs"]
    assert run["info"]["status"] == "FINISHED"
    table = json.loads(
        answer(f"{ui}/get-artifact?path=results.json&run_uuid={run['info']['run_id']}")
    )
    assert table["columns"][:2] == ["benchmark", "example_id"]
    assert len(table["data"]) == 4
    card = answer(f"{ui}/get-artifact?path=adapter/README.md&run_uuid={run['info']['run_id']}")
    assert b"pruning_rate: 0.2" in card


@pytest.mark.slow
def test_the_ui_asks_for_the_password_of_its_storage(driver, ui, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_PASSWORD")
    for page in ("", "/api/2.0/mlflow/experiments/search"):
        with pytest.raises(urllib.error.HTTPError, match="401"):
            answer(f"{ui}{page}", {"max_results": 5} if page else None)
    files = [driver.ledger.storage / ".mlflow-login", *driver.ledger.storage.glob(".mlflow-l*/*")]
    assert len(files) > 3
    assert {path.stat().st_mode & 0o077 for path in files} == {0}


def test_a_storages_password_stays_the_same(tmp_path):
    first, again, other = (ui_login(tmp_path / name) for name in ("a", "a", "b"))
    assert first.password == again.password != other.password
    assert len(first.password) >= 24
    command, environment = ui_command(tmp_path / "a", login=first)
    assert command[command.index("--app-name") + 1] == "basic-auth"
    assert first.password not in " ".join([*command, *environment.values()])


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_sync_publishes_to_a_server_as_often_as_one_likes(make_driver, ui, tmp_path, capsys):
    from mlflow import MlflowClient

    elsewhere = make_driver("elsewhere", tmp_path / "other storage")
    names = {elsewhere.run(0), elsewhere.run(1), elsewhere.start(2)}
    where = ["--mlflow-uri", ui, "--storage", str(elsewhere.ledger.storage)]
    client = MlflowClient(ui)
    found = []
    for options in (where[2:], where, where):
        with pytest.raises(SystemExit) as end:
            main(["sync", "elsewhere", *options])
        assert end.value.code == 0
        printed = capsys.readouterr().out
        assert "elsewhere: 3 trials are in " in printed
        if options is where:
            # Sweeps of a task share its experiment.
            experiments = [elsewhere.experiment_id(client)]
            runs = client.search_runs(experiments, "tags.sweep = 'elsewhere'")
            assert len(runs) == 4
            assert {run.data.tags.get("trial_id") for run in runs} == {None, *names}
            found.append(
                {
                    run.info.run_id: (
                        run.to_dictionary()["data"],
                        len(client.get_metric_history(run.info.run_id, "val/choice")),
                        sorted(item.path for item in client.list_artifacts(run.info.run_id)),
                    )
                    for run in runs
                }
            )
    assert found[0] == found[1]


def test_sync_says_what_could_not_be_published(driver, capsys, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        server = f"http://127.0.0.1:{unused.getsockname()[1]}"
    name = driver.run(0)
    options = ["--mlflow-uri", server, "--storage", str(driver.ledger.storage)]
    with pytest.raises(SystemExit) as end:
        main(["sync", "demo", *options])
    assert end.value.code == 1
    line, following = capsys.readouterr().err.splitlines()
    assert following == f"next: droplora-sweep status demo --storage {driver.ledger.storage}"
    assert line.startswith(f"{server} lacks some of demo ({name}, sweep): sweep: MlflowException: ")
    with pytest.raises(SystemExit) as end:
        main(["sync", "demo", "--mlflow-uri", "http://ann:tulip@host", *options[2:]])
    assert end.value.code == 2
    complaint = capsys.readouterr().err
    assert complaint.startswith("--mlflow-uri: must not hold a secret, got a URL with a password: ")
    assert "tulip" not in complaint


@pytest.mark.slow
def test_a_ledger_can_be_published_to_a_server_again_and_again(make_driver, ui, tmp_path):
    from mlflow import MlflowClient

    from droplora_sweep.mlflow_view.publisher import MlflowPublisher, publish_all

    elsewhere = make_driver("elsewhere", tmp_path / "other storage")
    publisher = MlflowPublisher(elsewhere.ledger, ui)
    name = elsewhere.run(0)
    assert publisher.close().is_complete
    client = MlflowClient(ui)
    experiment = elsewhere.experiment_id(client)
    before = client.search_runs([experiment], "tags.sweep = 'elsewhere'")
    assert publish_all(elsewhere.ledger, ui).is_complete
    after = client.search_runs([experiment], "tags.sweep = 'elsewhere'")
    assert {run.info.run_id for run in after} == {run.info.run_id for run in before}
    assert len(after) == 2
    [run] = [run for run in after if run.data.tags.get("trial_id") == name]
    assert len(client.get_metric_history(run.info.run_id, "val/choice")) == 2
    folder = Path(client.download_artifacts(run.info.run_id, "adapter", str(tmp_path)))
    verify_adapter(folder, elsewhere.ledger.trial(name).adapter_digest)
    assert not (elsewhere.ledger.storage / "mlflow.db").exists()
