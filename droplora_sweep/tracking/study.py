"""The Optuna study of a sweep, in a sqlite file of its own."""

from __future__ import annotations

import os
import sqlite3
from typing import TYPE_CHECKING

import optuna
from optuna.storages import RDBStorage

if TYPE_CHECKING:
    from pathlib import Path

BUSY_TIMEOUT_S = 60
"""How long a writer waits for another process's lock, e.g. Optuna Dashboard's."""


def open_study(path: Path, name: str) -> optuna.Study:
    """Create or load the study; it maximises."""
    os.close(os.open(path, os.O_CREAT, 0o600))
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S)
    # Kept in the file: readers such as Optuna Dashboard never block the driver.
    connection.execute("PRAGMA journal_mode=WAL")
    connection.close()
    storage = RDBStorage(
        f"sqlite:///{path}", engine_kwargs={"connect_args": {"timeout": BUSY_TIMEOUT_S}}
    )
    return optuna.create_study(
        storage=storage, study_name=name, direction="maximize", load_if_exists=True
    )
