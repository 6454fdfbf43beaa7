"""MLflow's settings in this process."""

from __future__ import annotations

import os

from .ui import QUIET_ENVIRONMENT

CLIENT_ENVIRONMENT = {
    **QUIET_ENVIRONMENT,
    # A call to a dead server blocks for about 247 s with MLflow's own values; the ledger keeps
    # what is not published, so giving up early loses nothing.
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}


def set_environment() -> None:
    """Set this process's MLflow settings, where the user has not set them.

    MLflow reads some when it is imported, so it is imported after this.
    """
    for name, value in CLIENT_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
