"""A results folder that was moved or copied: MLflow's links go to where it is now."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from mlflow import MlflowClient
from mlflow.tracking._tracking_service.utils import _artifact_repos_cache

from droplora_sweep.errors import SweepError
from droplora_sweep.ledger.files import verify_adapter
from droplora_sweep.ledger.reader import Ledger
from droplora_sweep.ledger.writer import LedgerWriter
from droplora_sweep.mlflow_view.artifact_links import mend_links
from droplora_sweep.mlflow_view.publisher import publish_all
from droplora_sweep.mlflow_view.reading import fetched_adapter, published_trials
from droplora_sweep.mlflow_view.ui import mlflow_uri
from droplora_sweep.spec.locations import sqlite_url
from tests.ledger.conftest import Driver, make_sweep

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mlflow.entities import Run


def runs_of(uri: str) -> dict[str, Run]:
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("droplora/toy")
    runs = client.search_runs([experiment.experiment_id])
    return {run.data.tags.get("trial_id", "sweep"): run for run in runs}


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture(autouse=True)
def as_in_a_fresh_process(published: Path) -> None:
    """Of copies of one store MLflow would otherwise remember where the first one's runs are."""
    _artifact_repos_cache.clear()


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A storage folder with a published sweep of two trials, and a registered version."""
    storage = tmp_path_factory.mktemp("published") / "old place" / "results"
    ledger = LedgerWriter.create(storage, sweep := make_sweep())
    driver = Driver(ledger, sweep)
    names = [driver.run(0), driver.run(1)]
    ledger.close()
    assert publish_all(ledger).is_complete
    client = MlflowClient(mlflow_uri(storage))
    run = runs_of(mlflow_uri(storage))[names[0]]
    client.create_registered_model("demo")
    client.create_model_version("demo", f"{run.info.artifact_uri}/adapter", run.info.run_id)
    return storage


@pytest.fixture(params=["moved", "copied"])
def elsewhere(request: pytest.FixtureRequest, published: Path, tmp_path: Path) -> Path:
    """The folder's new place."""
    old = tmp_path / "old place"
    shutil.copytree(published.parent, old)
    # The store that was copied says what a store says that was made there.
    mend_links(old / "results")
    new = tmp_path / "new" / "results"
    new.parent.mkdir()
    if request.param == "moved":
        (old / "results").rename(new)
        old.rmdir()
    else:
        shutil.copytree(old / "results", new)
    return new


def test_what_is_published_is_read_and_what_is_new_written_where_the_folder_is(
    elsewhere: Path, tmp_path: Path
) -> None:
    old = tmp_path / "old place" / "results"
    before = files_of(old)
    ledger = LedgerWriter.resume(elsewhere, sweep := make_sweep())
    driver = Driver(ledger, sweep)
    name = driver.run(2)
    ledger.close()
    report = publish_all(Ledger.open(elsewhere, "demo"))
    assert report.is_complete, report.error
    assert files_of(old) == before, "nothing is written into the old place"
    assert old.exists() == bool(before)
    runs = runs_of(mlflow_uri(elsewhere))
    root = (elsewhere / "mlartifacts").as_uri()
    assert all(run.info.artifact_uri.startswith(f"{root}/droplora/toy/") for run in runs.values())
    assert (elsewhere / "mlartifacts/droplora/toy" / runs[name].info.run_id).is_dir()
    for trial in ledger.records():
        with fetched_adapter(runs[trial.trial_id].info.run_id, None, elsewhere) as adapter:
            verify_adapter(adapter, trial.adapter_digest)
    assert len(published_trials("droplora/toy", None, elsewhere)) == 3
    [version] = MlflowClient(mlflow_uri(elsewhere)).search_model_versions("name = 'demo'")
    assert version.source.startswith(root)
    target = MlflowClient(mlflow_uri(elsewhere)).get_model_version_download_uri("demo", "1")
    assert target.startswith(root)


def test_a_copied_store_leaves_the_first_ones_links_alone(published: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(published, copy)
    mend_links(copy)
    for storage in (published, copy):
        mend_links(storage)
        root = (storage / "mlartifacts").as_uri()
        for run in runs_of(mlflow_uri(storage)).values():
            assert run.info.artifact_uri.startswith(root)


def test_a_folder_reached_by_another_name_stays_as_it_is(published: Path, tmp_path: Path) -> None:
    before = (published / "mlflow.db").read_bytes()
    (tmp_path / "link").symlink_to(published, target_is_directory=True)
    mend_links(tmp_path / "link")
    assert (published / "mlflow.db").read_bytes() == before


def test_artifacts_of_a_storage_in_a_store_elsewhere_stay_there(
    published: Path, make_driver: Callable[..., Driver], tmp_path: Path
) -> None:
    """Two storage folders may share the store of one of them."""
    shared = tmp_path / "shared"
    shutil.copytree(published, shared)
    driver = make_driver("guest", tmp_path / "guests", tracking={"experiment": "guest/toy"})
    driver.run(0)
    assert publish_all(driver.ledger, mlflow_uri(shared)).is_complete
    for _ in range(2):
        mend_links(shared)
        client = MlflowClient(mlflow_uri(shared))
        guest = client.get_experiment_by_name("guest/toy")
        assert guest.artifact_location == (tmp_path / "guests/mlartifacts/guest/toy").as_uri()


def test_a_database_elsewhere_follows_a_storage_that_moved(published: Path, tmp_path: Path) -> None:
    uri = sqlite_url(tmp_path / "mlflow-of-all.db")
    shutil.copy(published / "mlflow.db", tmp_path / "mlflow-of-all.db")
    new = tmp_path / "new"
    shutil.copytree(published, new)
    gone = published.with_name("gone")
    published.rename(gone)
    try:
        report = publish_all(Ledger.open(new, "demo"), uri)
        assert report.is_complete, report.error
        assert files_of(published) == {}, "nothing is written into the old place"
        for run in runs_of(uri).values():
            assert run.info.artifact_uri.startswith((new / "mlartifacts").as_uri())
        shutil.rmtree(new / "mlartifacts")
        shutil.copy(gone / "mlflow.db", tmp_path / "mlflow-of-all.db")
        with pytest.raises(SweepError, match=r"has its artifacts in .*, which is not there; move"):
            published_trials("droplora/toy", uri, new)
        assert not published.exists()
    finally:
        gone.rename(published)


def test_a_store_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_bytes(b"no database at all, for many bytes")
    with pytest.raises(SweepError) as caught:
        mend_links(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path / 'mlflow.db'}: cannot be read as MLflow's store: file is not a database"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["mlflow.db"]
