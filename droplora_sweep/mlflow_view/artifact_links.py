"""Locations of artifacts in MLflow's store, after its folder was moved or copied.

MLflow writes an absolute location into each experiment, run and model version when it is made,
and has no call that changes one. The store of a storage folder has its artifacts beside it, so
what it says is mended to that before it is read or written.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from droplora_sweep.errors import SweepError

from .ui import MLFLOW_ARTIFACTS, MLFLOW_DATABASE, artifact_root

if TYPE_CHECKING:
    from collections.abc import Iterator

BUSY_TIMEOUT_S = 60

_LINKS = {
    "experiments": ("artifact_location",),
    "runs": ("artifact_uri",),
    "logged_models": ("artifact_location",),
    "model_versions": ("source", "storage_location"),
}
"""Columns with locations, by table; MLflow's older schemas have fewer tables."""


def mend_links(storage: Path) -> None:
    """Let a storage folder's own MLflow store find its artifacts where the folder is now.

    Raises:
        SweepError: The store is no sqlite database, or stays locked.
    """
    database = storage / MLFLOW_DATABASE
    if not database.is_file():
        return
    root = artifact_root(storage)
    with _transaction(database) as connection:
        moved = [
            (location, (root / tail).as_uri())
            for location, tail in _own_experiments(connection)
            if _is_moved(location, root / tail)
        ]
        for old, new in moved:
            _move(connection, old, new)


def move_links(database: Path, old: str, new: str) -> None:
    """Replace a location, and every one below it, in an MLflow store.

    Raises:
        SweepError: The store is no sqlite database, or stays locked.
    """
    with _transaction(database) as connection:
        _move(connection, old, new)


def is_missing(location: str) -> bool:
    """Return whether a location is a folder of this machine that is not there."""
    folder = _folder(location)
    return folder is not None and not folder.exists()


def is_of_storage(location: str, experiment: str) -> bool:
    """Return whether a location is that of an experiment's artifacts in a storage folder."""
    return str(_folder(location)).endswith(f"/{MLFLOW_ARTIFACTS}/{experiment.strip('/')}")


@contextmanager
def _transaction(database: Path) -> Iterator[sqlite3.Connection]:
    """A connection whose changes are made together or not at all."""
    try:
        with closing(sqlite3.connect(database, timeout=BUSY_TIMEOUT_S)) as connection, connection:
            yield connection
    except sqlite3.Error as error:
        raise SweepError(f"{database}: cannot be read as MLflow's store: {error}") from error


def _own_experiments(connection: sqlite3.Connection) -> Iterator[tuple[str, str]]:
    """Location of each experiment in a storage folder, and its part below ``mlartifacts``."""
    rows = connection.execute("SELECT experiment_id, name, artifact_location FROM experiments")
    for number, name, location in rows.fetchall():
        for tail in (name, str(number)):
            if location is not None and is_of_storage(location, tail):
                yield location, tail.strip("/")


def _is_moved(location: str, here: Path) -> bool:
    there = _folder(location)
    assert there is not None, "it was found by its folder"
    if not there.exists():
        return True
    return here.is_dir() and not here.samefile(there)


def _folder(location: str) -> Path | None:
    """The folder of a location; None where it is no path of this machine."""
    if location.startswith("/"):
        return Path(location)
    parts = urlsplit(location)
    return Path(unquote(parts.path)) if parts.scheme == "file" else None


def _move(connection: sqlite3.Connection, old: str, new: str) -> None:
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    for table, columns in _LINKS.items():
        for column in columns if table in tables else ():
            connection.execute(
                f"UPDATE {table} SET {column} = ? || substr({column}, ?) "
                f"WHERE {column} = ? OR substr({column}, 1, ?) = ?",
                (new, len(old) + 1, old, len(old) + 1, f"{old}/"),
            )
