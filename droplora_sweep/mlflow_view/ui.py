"""The command that opens the MLflow UI on a sweep's store."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from droplora_sweep.errors import SweepError
from droplora_sweep.ledger.sqlite_url import sqlite_url
from droplora_sweep.spec import RESERVED_NAMES

if TYPE_CHECKING:
    from .ui_login import Login

MLFLOW_ARTIFACTS, MLFLOW_DATABASE = RESERVED_NAMES

QUIET_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
}
"""MLflow otherwise reports its use to its makers."""

UI_ENVIRONMENT = {
    **QUIET_ENVIRONMENT,
    # Without job execution and with one worker the server starts in half the time and in a
    # sixth of the memory.
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
}


def mlflow_uri(storage: Path) -> str:
    """Tracking URI of the sqlite store that the sweeps of a storage folder share."""
    return sqlite_url(storage.resolve() / MLFLOW_DATABASE)


def artifact_root(storage: Path) -> Path:
    """Folder of that store's artifacts."""
    return storage.resolve() / MLFLOW_ARTIFACTS


def ui_command(
    store: Path | str, port: int = 5000, login: Login | None = None
) -> tuple[list[str], dict[str, str]]:
    """What starts the MLflow UI on this machine's loopback interface.

    Args:
        store: A storage folder, or the database URI of an MLflow store.
        port: Port to listen on.
        login: Who may use it; None lets every user of this machine.

    Returns:
        The command, and what its environment must have in addition.

    Raises:
        SweepError: If the store is a server, which has its UI at its own address.
    """
    if isinstance(store, str) and store.startswith(("http://", "https://")):
        raise SweepError(f"tracking.mlflow_uri: {store} is a server; open it in a browser")
    uri = mlflow_uri(store) if isinstance(store, Path) else store
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri]
    if isinstance(store, Path):
        # The artifacts' own locations are absolute; this keeps new ones out of the user's folder.
        command += ["--default-artifact-root", artifact_root(store).as_uri()]
        command += ["--artifacts-destination", artifact_root(store).as_uri()]
    command += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    if login is None:
        return command, dict(UI_ENVIRONMENT)
    return [*command, "--app-name", "basic-auth"], {**UI_ENVIRONMENT, **login.environment}
