"""MLflow's view of a sweep that goes on with other settings, and of runs that are gone there."""

from __future__ import annotations

import os
import shutil
import time
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from mlflow import MlflowClient

from droplora_sweep.ledger.reader import Ledger
from droplora_sweep.ledger.writer import LedgerWriter
from droplora_sweep.mlflow_view.publisher import MlflowPublisher, publish_all
from droplora_sweep.mlflow_view.ui import mlflow_uri
from droplora_sweep.records.trial import SweepOutcome
from droplora_sweep.run.forking import past_of
from droplora_sweep.spec import SweepSpec
from tests.ledger.conftest import Driver
from tests.mlflow_ui import running_ui

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from mlflow.entities import Run


@pytest.fixture(scope="module")
def made_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A storage folder with an MLflow store that is empty: its schema takes seconds to make."""
    from droplora_sweep.mlflow_view.client import connect

    storage = tmp_path_factory.mktemp("made") / "results"
    connect(storage, None)
    return storage


@pytest.fixture(scope="module")
def server(
    made_store: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Path]]:
    """Address of a real server, and the folder of its store."""
    folder = tmp_path_factory.mktemp("server")
    shutil.copytree(made_store, folder / "store")
    (folder / "cwd").mkdir()
    with running_ui(folder / "store", folder / "cwd", folder / "ui.log") as address:
        yield address, folder / "store"


@pytest.fixture(params=["sqlite", pytest.param("server", marks=pytest.mark.slow)])
def where(
    request: pytest.FixtureRequest, made_store: Path, tmp_path: Path
) -> tuple[str | None, Path]:
    """A tracking URI and the folder of its store: the storage's own sqlite file, and a server."""
    if request.param == "server":
        found: tuple[str, Path] = request.getfixturevalue("server")
        return found
    (tmp_path / "results").mkdir()
    shutil.copy(made_store / "mlflow.db", tmp_path / "results" / "mlflow.db")
    return None, tmp_path / "results"


@pytest.fixture
def uri(where: tuple[str | None, Path]) -> str | None:
    return where[0]


@pytest.fixture
def client(where: tuple[str | None, Path]) -> MlflowClient:
    uri, store = where
    return MlflowClient(uri or mlflow_uri(store))


@pytest.fixture
def driver(uri: str | None, make_driver: Callable[..., Driver]) -> Driver:
    """A sweep of its own, also on a server that tests share."""
    name = f"sweep-{uuid.uuid4().hex[:8]}"
    tracking = {"experiment": f"{name}/toy"}
    return make_driver(name, search={"num_trials": 2}, tracking=tracking)


def runs_of(client: MlflowClient, ledger: Ledger) -> tuple[Run, dict[str, Run]]:
    """The parent run and the trials' runs by trial id, of those that are not deleted."""
    experiment = client.get_experiment_by_name(ledger.record.experiment)
    wanted = f"tags.sweep_id = '{ledger.record.sweep_id}'"
    runs = client.search_runs([experiment.experiment_id], wanted)
    [parent] = [run for run in runs if "trial_id" not in run.data.tags]
    children = {run.data.tags["trial_id"]: run for run in runs if "trial_id" in run.data.tags}
    assert len(children) == len(runs) - 1, "a trial has two runs"
    below = {run.data.tags["mlflow.parentRunId"] for run in children.values()}
    assert below <= {parent.info.run_id}, "a trial's run is below another parent"
    return parent, children


def goes_on(driver: Driver, **sections: Any) -> Driver:
    """The sweep's next driver, with other settings."""
    driver.ledger.close()
    spec = SweepSpec.model_validate(driver.sweep.model_dump(mode="json") | sections)
    return Driver(LedgerWriter.resume(driver.ledger.storage, spec), spec)


LONGER = {
    "search": {"num_trials": 4, "budget": {"wall_clock_hours": 2.0}},
    "confirm": {"seeds": 3},
    "group": {"num_workers": 4, "recycle_after": 1},
    "checkpoint": {"every_minutes": 1.0, "every_steps": 50},
}


def test_a_sweep_that_grows_is_published_with_its_new_settings(
    driver: Driver, uri: str | None, client: MlflowClient
) -> None:
    publisher = MlflowPublisher(driver.ledger, uri)
    names = {driver.run(0), driver.run(1)}
    driver.ledger.sweep_finished(SweepOutcome.COMPLETE)
    assert publisher.close().is_complete
    first, _ = runs_of(client, driver.ledger)
    assert first.data.tags["search_num_trials"] == "2"
    assert "confirm_seeds" not in first.data.tags
    longer = goes_on(driver, **LONGER)
    publisher = MlflowPublisher(longer.ledger, uri)
    names |= {longer.run(2), longer.run(3)}
    report = publisher.close()
    assert report.is_complete, report.error
    parent, children = runs_of(client, longer.ledger)
    assert parent.info.run_id == first.info.run_id
    assert parent.data.tags["search_num_trials"] == "4"
    assert parent.data.tags["search_budget_wall_clock_hours"] == "2.0"
    assert parent.data.tags["confirm_seeds"] == "3"
    assert parent.data.tags["group_num_workers"] == "4"
    assert parent.data.tags["checkpoint_every_steps"] == "50"
    assert parent.data.params == {}, "what may change is no param"
    assert set(children) == names
    assert parent.data.metrics["trials_complete"] == 4
    longer.ledger.close()
    shorter = goes_on(longer, search={"num_trials": 5}, confirm=None)
    report = publish_all(shorter.ledger, uri)
    assert report.is_complete, report.error
    parent, _ = runs_of(client, shorter.ledger)
    assert parent.data.tags["search_num_trials"] == "5"
    gone = {"confirm_seeds", "search_budget_wall_clock_hours"} & parent.data.tags.keys()
    assert not gone, "settings that it no longer has"
    shorter.ledger.close()


def test_a_store_of_an_earlier_version_goes_on_with_its_params(
    driver: Driver, uri: str | None, client: MlflowClient, tmp_path: Path
) -> None:
    """That version made params of the sweep's settings, and may have written values otherwise."""
    trial = driver.run(0)
    tags = {"sweep_id": driver.ledger.record.sweep_id}
    experiment = client.create_experiment(
        f"{driver.sweep.name}/toy",
        artifact_location=(tmp_path / "results/mlartifacts/old").as_uri(),
    )
    old = client.create_run(experiment, tags=tags).info.run_id
    client.log_param(old, "search_num_trials", "2")
    client.log_param(old, "group_num_workers", "2")
    tags = {**tags, "trial_id": trial, "mlflow.parentRunId": old}
    old_trial = client.create_run(experiment, tags=tags).info.run_id
    client.log_param(old_trial, "alpha", "64")
    longer = goes_on(driver, search={"num_trials": 8}, group={"num_workers": 1})
    longer.run(1)
    report = publish_all(longer.ledger, uri)
    assert report.is_complete, report.error
    parent, children = runs_of(client, longer.ledger)
    assert parent.info.run_id == old
    assert parent.data.params["search_num_trials"] == "2", "which MLflow does not let change"
    assert parent.data.tags["search_num_trials"] == "8"
    assert parent.data.tags["group_num_workers"] == "1"
    assert len(children) == 2
    assert children[trial].info.run_id == old_trial
    assert children[trial].data.params["alpha"] == "64"
    assert children[trial].data.tags["now.alpha"] == "64.0"
    assert children[trial].data.params["rank"] == "8"
    assert children[trial].data.tags["published"] == "true"
    longer.ledger.close()


def test_a_fork_is_a_run_of_its_own(driver: Driver, uri: str | None, client: MlflowClient) -> None:
    driver.run(0)
    assert publish_all(driver.ledger, uri).is_complete
    before, _ = runs_of(client, driver.ledger)
    spec = SweepSpec.model_validate(
        driver.sweep.model_dump(mode="json")
        | {"name": f"{driver.sweep.name}-fork", "search": {"num_trials": 9}}
    )
    past = past_of(driver.ledger.record, spec, lambda number, _: (f"t{number:04d}-0", "0" * 64))
    ledger = LedgerWriter.create(driver.ledger.storage, spec, past=past)
    name = Driver(ledger, spec).run(1)
    assert publish_all(ledger, uri).is_complete
    parent, children = runs_of(client, ledger)
    assert set(children) == {name}
    assert parent.info.run_id != before.info.run_id
    assert parent.data.tags["search_num_trials"] == "9"
    after, _ = runs_of(client, driver.ledger)
    assert after.data.tags == before.data.tags
    ledger.close()


def test_runs_that_were_deleted_in_mlflow_are_restored(
    driver: Driver, uri: str | None, client: MlflowClient
) -> None:
    names = {driver.run(0), driver.run(1)}
    assert publish_all(driver.ledger, uri).is_complete
    parent, children = runs_of(client, driver.ledger)
    deleted = [parent.info.run_id, next(iter(children.values())).info.run_id]
    for run_id in deleted:
        client.delete_run(run_id)
    report = publish_all(Ledger.open(driver.ledger.storage, driver.sweep.name), uri)
    assert report.is_complete, report.error
    again, found = runs_of(client, driver.ledger)
    assert again.info.run_id == parent.info.run_id
    assert set(found) == names
    assert all(client.get_run(run_id).info.lifecycle_stage == "active" for run_id in deleted)


def test_a_parent_run_that_is_gone_for_good_is_made_anew_above_its_trials(
    driver: Driver, where: tuple[str | None, Path], client: MlflowClient
) -> None:
    uri, store = where
    names = {driver.run(0), driver.run(1)}
    assert publish_all(driver.ledger, uri).is_complete
    parent, children = runs_of(client, driver.ledger)
    client.delete_run(parent.info.run_id)
    remove_for_good(store, parent.info.run_id)
    report = publish_all(Ledger.open(driver.ledger.storage, driver.sweep.name), uri)
    assert report.is_complete, report.error
    again, found = runs_of(client, driver.ledger)
    assert again.info.run_id != parent.info.run_id
    assert {name: run.info.run_id for name, run in found.items()} == {
        name: children[name].info.run_id for name in names
    }
    assert again.data.metrics["trials_complete"] == 2


def remove_for_good(storage: Path, run_id: str) -> None:
    """Delete a run for good, as ``mlflow gc`` does."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    store = SqlAlchemyStore(mlflow_uri(storage), os.fspath(storage / "mlartifacts"))
    store._hard_delete_run(run_id)


def is_published(client: MlflowClient, driver: Driver, trial_id: str) -> bool:
    experiment = client.get_experiment_by_name(f"{driver.sweep.name}/toy")
    wanted = f"tags.trial_id = '{trial_id}' and tags.published = 'true'"
    return bool(experiment and client.search_runs([experiment.experiment_id], wanted))


def wait_until(condition: Callable[[], bool], limit_s: float = 20) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, f"not so within {limit_s:g} s"
        time.sleep(0.05)


def test_a_run_deleted_under_a_publisher_is_restored_by_it(
    driver: Driver, uri: str | None, client: MlflowClient
) -> None:
    failures: list[str] = []
    publisher = MlflowPublisher(driver.ledger, uri, failures.append)
    name = driver.run(0)
    wait_until(lambda: is_published(client, driver, name))
    parent, _ = runs_of(client, driver.ledger)
    client.delete_run(parent.info.run_id)
    driver.run(1)
    report = publisher.close()
    assert report.is_complete, report.error
    again, found = runs_of(client, driver.ledger)
    assert again.info.run_id == parent.info.run_id
    assert len(found) == 2
