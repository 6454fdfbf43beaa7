"""Storage paths with characters that URLs, INI files and SQLAlchemy read as something else."""

from __future__ import annotations

import urllib.request
from base64 import b64encode
from typing import TYPE_CHECKING

import pytest
from mlflow import MlflowClient

from droplora_sweep.mlflow_view.publisher import publish_all
from droplora_sweep.mlflow_view.reading import fetched_adapter
from droplora_sweep.mlflow_view.ui import mlflow_uri, ui_login
from droplora_sweep.spec.locations import sqlite_file, sqlite_url
from tests.calling import call
from tests.mlflow_ui import running_ui

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.ledger.conftest import Driver

NAMES = ["what?", "100%", "a%20b", "#1", "a b", "x?y=1&z#2 %2F", "it's", "[bold]", "ünï", "a:b@c"]
HARD = "x?y=1&z#2 %2F"


@pytest.mark.parametrize("name", NAMES)
def test_a_sqlite_url_names_the_file_and_no_other(name: str, tmp_path: Path) -> None:
    import sqlalchemy

    path = tmp_path / name / "some.db"
    path.parent.mkdir()
    engine = sqlalchemy.create_engine(sqlite_url(path))
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("CREATE TABLE found (x INTEGER)"))
    engine.dispose()
    assert path.is_file()
    assert sqlite_file(sqlite_url(path)) == path
    assert [each.name for each in tmp_path.iterdir()] == [name]


def test_stores_in_memory_and_other_urls_have_no_file() -> None:
    for url in ("sqlite://", "sqlite:///:memory:", "postgresql://host/db", "http://host:5000"):
        assert sqlite_file(url) is None


@pytest.fixture
def driver(make_driver: Callable[..., Driver], tmp_path: Path) -> Driver:
    return make_driver(storage=tmp_path / HARD / "results")


def test_ledger_study_and_mlflow_are_in_the_folder_that_was_named(
    driver: Driver, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    storage, name = driver.ledger.storage, driver.run(0)
    assert driver.ledger.study.study_name == "demo"
    for _ in range(2):
        code, printed, complaint = call(capsys, "sync", "demo", "--storage", storage)
        assert code == 0, complaint
        assert "1 trials are in the store in" in printed
    client = MlflowClient(mlflow_uri(storage))
    experiment = client.get_experiment_by_name("droplora/toy")
    runs = client.search_runs([experiment.experiment_id], f"tags.trial_id = '{name}'")
    with fetched_adapter(runs[0].info.run_id, None, storage) as adapter:
        assert (adapter / "README.md").is_file()
    assert {"mlflow.db", "mlartifacts", "demo"} <= {path.name for path in storage.iterdir()}
    assert (storage / "demo" / "study.db").is_file()
    assert [path.name for path in tmp_path.iterdir()] == [HARD], "nothing lies beside it"
    assert [path.name for path in storage.parent.iterdir()] == ["results"]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_ui_serves_a_folder_of_such_a_name(driver: Driver, tmp_path: Path) -> None:
    name = driver.run(0)
    assert publish_all(driver.ledger).is_complete
    storage = driver.ledger.storage
    login = ui_login(storage)
    (tmp_path / "cwd").mkdir()
    client = MlflowClient(mlflow_uri(storage))
    experiment = client.get_experiment_by_name("droplora/toy")
    [run] = client.search_runs([experiment.experiment_id], f"tags.trial_id = '{name}'")
    with running_ui(storage, tmp_path / "cwd", tmp_path / "ui.log", login) as address:
        path = f"get-artifact?path=adapter/README.md&run_uuid={run.info.run_id}"
        request = urllib.request.Request(f"{address}/{path}")
        secret = b64encode(f"{login.user}:{login.password}".encode()).decode()
        request.add_header("Authorization", f"Basic {secret}")
        with urllib.request.urlopen(request, timeout=30) as response:
            assert b"pruning_rate: 0.2" in response.read()
    assert (storage / ".mlflow-login" / "users.db").stat().st_size > 0
    assert {path.name for path in tmp_path.iterdir()} == {HARD, "cwd", "ui.log"}
    assert not list((tmp_path / "cwd").iterdir())
