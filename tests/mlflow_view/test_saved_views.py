"""Saved views on a real store: beside a user's own, and on stores that take none."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from mlflow import MlflowClient

from droplora_sweep.mlflow_view.client import connect
from droplora_sweep.mlflow_view.publisher import publish_all
from droplora_sweep.mlflow_view.stored_views import newest_links, stored_links
from droplora_sweep.mlflow_view.ui import mlflow_uri
from droplora_sweep.mlflow_view.views import TAG_PREFIX, address, is_ours, key_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mlflow.entities import Experiment

    from tests.ledger.conftest import Driver

NOTE = "mlflow.note.content"


@pytest.fixture(scope="module")
def made_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A storage folder with an empty store, whose schema takes seconds to make."""
    storage = tmp_path_factory.mktemp("made") / "results"
    connect(storage, None)
    return storage


@pytest.fixture
def driver(made_store: Path, make_driver: Callable[..., Driver], tmp_path: Path) -> Driver:
    (tmp_path / "results").mkdir()
    shutil.copy(made_store / "mlflow.db", tmp_path / "results" / "mlflow.db")
    return make_driver()


def experiment_of(driver: Driver) -> Experiment:
    client = MlflowClient(mlflow_uri(driver.ledger.storage))
    return client.get_experiment_by_name("droplora/toy")


def publish(driver: Driver) -> None:
    report = publish_all(driver.ledger)
    assert report.is_complete, report.error


def test_views_are_saved_and_what_a_user_changed_stays(driver: Driver) -> None:
    driver.run(0)
    publish(driver)
    first = experiment_of(driver)
    tag = TAG_PREFIX + key_of(driver.ledger.record)
    assert is_ours(first.tags[tag])
    assert is_ours(first.tags[f"{TAG_PREFIX}droplora-sweeps"])
    assert first.tags[NOTE].startswith("demo: [trials](#/experiments/")
    publish(driver)
    assert experiment_of(driver).tags == first.tags
    client = MlflowClient(mlflow_uri(driver.ledger.storage))
    saved = json.loads(first.tags[tag])
    theirs = {
        tag: json.dumps({**saved, "name": "my demo", "updatedAt": saved["createdAt"] + 1}),
        f"{TAG_PREFIX}17910198782163edgmyyy": json.dumps({**saved, "name": "mine"}),
        NOTE: "My sweeps.",
    }
    for name, value in theirs.items():
        client.set_experiment_tag(first.experiment_id, name, value)
    client.delete_experiment_tag(first.experiment_id, f"{TAG_PREFIX}droplora-sweeps")
    publish(driver)
    after = experiment_of(driver).tags
    assert {name: after[name] for name in theirs} == theirs
    assert is_ours(after[f"{TAG_PREFIX}droplora-sweeps"]), "what is missing is made again"


def test_sweeps_of_a_task_share_an_experiment_each_below_its_parent(
    driver: Driver, make_driver: Callable[..., Driver]
) -> None:
    other = make_driver("other")
    for each in (driver, other):
        each.run(0)
        publish(each)
    experiment = experiment_of(driver)
    client = MlflowClient(mlflow_uri(driver.ledger.storage))
    runs = client.search_runs([experiment.experiment_id])
    children = [run.data.tags for run in runs if "trial_id" in run.data.tags]
    others = [run.info for run in runs if "trial_id" not in run.data.tags]
    parents = {run.run_id: run.run_name for run in others}
    assert sorted(parents.values()) == ["demo", "other"]
    assert {tags["sweep"]: parents[tags["mlflow.parentRunId"]] for tags in children} == {
        "demo": "demo",
        "other": "other",
    }
    record = driver.ledger.record
    found = stored_links(driver.ledger.storage, record)
    assert found == {
        "trials": address(key_of(record), experiment.experiment_id),
        "charts": address(key_of(record), experiment.experiment_id, charts=True),
        "all sweeps": address("droplora-sweeps", experiment.experiment_id, charts=True),
    }
    assert list(newest_links(driver.ledger.storage, 5)) == ["other", "demo"]
    [parent] = [run for run in runs if run.info.run_name == "demo"]
    assert f"[trials]({found['trials']})" in parent.data.tags[NOTE]


REFUSES = "SELECT RAISE(ABORT, 'no tags here')"
DROPS = "SELECT RAISE(IGNORE)"


@pytest.mark.parametrize("does", [REFUSES, DROPS])
def test_a_store_that_takes_no_tags_of_experiments_costs_the_views_alone(
    driver: Driver, does: str
) -> None:
    storage = driver.ledger.storage
    with closing(sqlite3.connect(storage / "mlflow.db")) as database, database:
        database.execute(f"CREATE TRIGGER t BEFORE INSERT ON experiment_tags BEGIN {does}; END")
    driver.run(0)
    publish(driver)
    experiment = experiment_of(driver)
    assert experiment.tags == {}
    client = MlflowClient(mlflow_uri(storage))
    runs = client.search_runs([experiment.experiment_id], "tags.sweep = 'demo'")
    assert len(runs) == 2
    assert stored_links(storage, driver.ledger.record) == {}
    assert NOTE not in next(run for run in runs if run.info.run_name == "demo").data.tags


def test_a_store_that_shortens_tags_costs_the_views_alone(driver: Driver) -> None:
    storage = driver.ledger.storage
    with closing(sqlite3.connect(storage / "mlflow.db")) as database, database:
        shorter = "UPDATE experiment_tags SET value = substr(value, 1, 250)"
        shorter += " WHERE key = NEW.key AND experiment_id = NEW.experiment_id"
        database.execute(f"CREATE TRIGGER t AFTER INSERT ON experiment_tags BEGIN {shorter}; END")
    for _ in range(2):
        publish(driver)
    assert stored_links(storage, driver.ledger.record) == {}


def test_links_are_read_from_no_store_without_a_complaint(driver: Driver, tmp_path: Path) -> None:
    assert stored_links(tmp_path / "nowhere", driver.ledger.record) == {}
    (tmp_path / "mlflow.db").write_bytes(b"no database at all, for many bytes")
    assert stored_links(tmp_path, driver.ledger.record) == {}
    assert newest_links(tmp_path, 3) == {}
