"""A client for an MLflow store: quiet, quick to give up, its schema made by one process alone."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

from mlflow import MlflowClient
from mlflow.entities import ViewType
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from droplora_sweep.errors import SweepError
from droplora_sweep.files import make_private_directory
from droplora_sweep.redaction import redact
from droplora_sweep.spec import tracking_uri_problem
from droplora_sweep.spec.locations import sqlite_file, sqlite_url

from .artifact_links import is_missing, is_of_storage, mend_links, move_links
from .ui import MLFLOW_DATABASE, artifact_root, mlflow_uri

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mlflow.entities import Experiment, Run


NEW_DATABASE = f".{MLFLOW_DATABASE}.new"


def connect(storage: Path, uri: str | None) -> MlflowClient:
    """Client for ``uri``, or for the storage's own sqlite store, which is created where missing.

    A server is not contacted yet.

    A store that lies in a storage folder is told first where that folder is now.

    Raises:
        SweepError: If MLflow refuses the URI or the database.
    """
    require_known_scheme(uri)
    try:
        if uri is None:
            return _local_client(storage)
        file = sqlite_file(uri)
        if file is not None and file.name == MLFLOW_DATABASE:
            mend_links(file.parent)
        return MlflowClient(uri)
    # MLflow passes on what its driver and the file system raise.
    except (MlflowException, SQLAlchemyError, OSError) as error:
        shown = redact(uri or mlflow_uri(storage))
        problem = f"cannot open {shown}: {first_line(error)}"
        raise SweepError(f"tracking.mlflow_uri: {problem}") from error


def require_known_scheme(uri: str | None) -> None:
    """Refuse, without contacting anything, a URI that MLflow has no tracking store for.

    Raises:
        SweepError: It begins with none of the known schemes.
    """
    if uri is not None and (problem := tracking_uri_problem(uri)):
        raise SweepError(f"tracking.mlflow_uri: {problem}")


def find_experiment(
    client: MlflowClient, storage: Path, uri: str | None, name: str
) -> Experiment | None:
    """An experiment whose artifacts are where it says; None where the store has none of the name.

    A database elsewhere may tell of a storage folder that has been moved since.

    Raises:
        SweepError: Its artifacts are in a folder that is not there, and that cannot be changed.
    """
    found = client.get_experiment_by_name(name)
    here = artifact_location(storage, uri, name)
    if found is None or here is None or found.artifact_location == here:
        return found
    there = found.artifact_location
    if not is_of_storage(there, name) or not is_missing(there):
        return found
    file = None if uri is None else sqlite_file(uri)
    if file is None or is_missing(here):
        raise SweepError(
            f"MLflow experiment {name}: has its artifacts in {there}, which is not there; "
            "move the results folder back, or publish to another store with `sync --mlflow-uri`"
        )
    move_links(file, there, here)
    return client.get_experiment_by_name(name)


def make_experiment(client: MlflowClient, storage: Path, uri: str | None, name: str) -> str:
    """Make an experiment, unless another sweep of it is faster; its id.

    The folder of its artifacts is made too: without one it would look moved to another storage.
    """
    location = artifact_location(storage, uri, name)
    if location is not None:
        make_private_directory(artifact_root(storage) / name.strip("/"))
    try:
        return client.create_experiment(name, artifact_location=location)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
        found = client.get_experiment_by_name(name)
        assert found is not None, "a deleted one is refused before"
        return found.experiment_id


def all_runs(
    client: MlflowClient, experiment_id: str, wanted: str, view: int = ViewType.ACTIVE_ONLY
) -> Iterator[Run]:
    """Yield every run of an experiment that MLflow's filter finds, the one that began first first.

    MLflow gives a page at a time.
    """
    token: str | None = ""
    while token is not None:
        page = client.search_runs(
            [experiment_id],
            wanted,
            run_view_type=view,
            order_by=["attributes.start_time ASC"],
            page_token=token or None,
        )
        yield from page
        token = page.token or None


def first_line(error: Exception) -> str:
    """Return what MLflow says is wrong, without the rest and without secrets."""
    return redact(str(error).strip().partition("\n")[0])


def artifact_location(storage: Path, uri: str | None, experiment: str) -> str | None:
    """Return the location of an experiment's artifacts; None leaves it to the server."""
    if uri is not None and uri.startswith(("http://", "https://", "databricks")):
        return None
    return (artifact_root(storage) / experiment.strip("/")).as_uri()


def _local_client(storage: Path) -> MlflowClient:
    make_private_directory(artifact_root(storage))
    # Processes that create the schema at the same time would fail in its migrations.
    lock_file = os.open(storage / ".mlflow.lock", os.O_CREAT | os.O_WRONLY, 0o600)
    with os.fdopen(lock_file, "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (storage / MLFLOW_DATABASE).exists():
            _make_database(storage)
        mend_links(storage)
        return MlflowClient(mlflow_uri(storage))


def _make_database(storage: Path) -> None:
    """Make the schema beside its place: MLflow cannot use one that was left half-made."""
    for leftover in storage.glob(f"{NEW_DATABASE}*"):
        leftover.unlink()
    new = storage / NEW_DATABASE
    os.close(os.open(new, os.O_CREAT, 0o600))
    MlflowClient(sqlite_url(new.resolve()))
    new.rename(storage / MLFLOW_DATABASE)
