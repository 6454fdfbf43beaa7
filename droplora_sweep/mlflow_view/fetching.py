"""An adapter as MLflow holds it."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from mlflow.exceptions import MlflowException

from droplora_sweep.errors import SweepError

from .client import connect
from .ui import MLFLOW_DATABASE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ARTIFACT = "adapter"


def require_contained(run_id: str, paths: Iterable[str]) -> None:
    """Refuse names of a server that would be written outside of the folder they are meant for.

    Raises:
        SweepError: Naming the first.
    """
    for path in paths:
        if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
            raise SweepError(f"--adapter: run {run_id} must have plain file names, got {path!r}")


@contextlib.contextmanager
def fetched_adapter(run_id: str, uri: str | None, storage: Path) -> Iterator[Path]:
    """A temporary copy of a run's ``adapter`` artifact.

    Args:
        run_id: 32 hex digits.
        uri: Tracking server; the sqlite store under ``storage`` where None.
        storage: Folder that holds the sweeps.

    Raises:
        SweepError: The store cannot be opened, or has no such run with an adapter.
    """
    if uri is None and not (storage / MLFLOW_DATABASE).is_file():
        raise SweepError(f"--storage: must hold {MLFLOW_DATABASE} for an MLflow run, got {storage}")
    client = connect(storage, uri)
    with tempfile.TemporaryDirectory(prefix="droplora-") as folder:
        try:
            client.get_run(run_id)
            found = [item.path for item in client.list_artifacts(run_id, ARTIFACT)]
            if not found:
                raise SweepError(f"--adapter: run {run_id} must have an adapter, got none")
            require_contained(run_id, found)
            path = client.download_artifacts(run_id, ARTIFACT, folder)
        except MlflowException as error:
            reason = str(error).strip().splitlines()[0]
            raise SweepError(f"--adapter: cannot read run {run_id}: {reason}") from error
        yield Path(path)
