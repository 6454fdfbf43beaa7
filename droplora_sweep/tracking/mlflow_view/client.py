"""A client for an MLflow store: quiet, quick to give up, its schema made by one process alone."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from droplora_sweep.errors import SweepError
from droplora_sweep.files import make_private_directory
from droplora_sweep.redaction import redact
from droplora_sweep.tracking.ui import (
    MLFLOW_DATABASE,
    artifact_root,
    mlflow_uri,
)

if TYPE_CHECKING:
    from pathlib import Path


NEW_DATABASE = f".{MLFLOW_DATABASE}.new"


def connect(storage: Path, uri: str | None) -> MlflowClient:
    """Client for ``uri``, or for the storage's own sqlite store, which is created where missing.

    A server is not contacted yet.

    Raises:
        SweepError: If MLflow refuses the URI or the database.
    """
    try:
        return MlflowClient(uri) if uri is not None else _local_client(storage)
    except MlflowException as error:
        shown = redact(uri or mlflow_uri(storage))
        raise SweepError(f"tracking.mlflow_uri: cannot open {shown}: {error}") from error


SCHEMES = ("http", "https", "databricks", "sqlite", "postgresql", "mysql", "mssql")
"""What tracking URIs may begin with; a database's may name its Python driver behind a ``+``."""


def require_known_scheme(uri: str | None) -> None:
    """Refuse, without contacting anything, a URI that MLflow has no tracking store for.

    Raises:
        SweepError: Its scheme is none of ``SCHEMES``.
    """
    if uri is None or uri == "databricks":
        return
    scheme = uri.partition(":")[0].partition("+")[0]
    if ":" not in uri or scheme not in SCHEMES:
        known = ", ".join(SCHEMES)
        raise SweepError(
            f"tracking.mlflow_uri: cannot open {redact(uri)}: must begin with one of {known}"
        )


def artifact_location(storage: Path, uri: str | None, experiment: str) -> str | None:
    """Where an experiment keeps its artifacts; None leaves it to the server."""
    if uri is not None and uri.startswith(("http://", "https://", "databricks")):
        return None
    return (artifact_root(storage) / experiment).as_uri()


def _local_client(storage: Path) -> MlflowClient:
    make_private_directory(artifact_root(storage))
    # Processes that create the schema at the same time would fail in its migrations.
    lock_file = os.open(storage / ".mlflow.lock", os.O_CREAT | os.O_WRONLY, 0o600)
    with os.fdopen(lock_file, "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (storage / MLFLOW_DATABASE).exists():
            _make_database(storage)
        return MlflowClient(mlflow_uri(storage))


def _make_database(storage: Path) -> None:
    """Make the schema beside its place: MLflow cannot go on with one that was left half-made."""
    for leftover in storage.glob(f"{NEW_DATABASE}*"):
        leftover.unlink()
    new = storage / NEW_DATABASE
    os.close(os.open(new, os.O_CREAT, 0o600))
    MlflowClient(f"sqlite:///{new.resolve()}")
    new.rename(storage / MLFLOW_DATABASE)
