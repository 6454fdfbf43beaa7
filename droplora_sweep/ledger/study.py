"""The Optuna study of a sweep: in a sqlite file of its own, or where ``search.study`` says."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

import optuna
from optuna.storages import JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import StudyDirection

from droplora_sweep.errors import SweepError
from droplora_sweep.spec.locations import JOURNAL, POSTGRESQL, sqlite_url
from droplora_sweep.spec.search import is_maximized

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

    from droplora_sweep.records.trial import SweepRecord

BUSY_TIMEOUT_S = 60
"""Longest wait of a writer for another process's lock, e.g. Optuna Dashboard's."""


def open_study(path: Path, url: str | None, sweep: SweepRecord) -> optuna.Study:
    """Create or load the study; it maximises, or each of several objectives has its direction.

    Args:
        path: The sweep's own sqlite file, used where there is no URL.
        url: ``search.study``: a storage that sweeps may share, in which the study has the sweep's
            id in its name.
        sweep: The sweep that the study is of.

    Raises:
        SweepError: The storage cannot be opened.
    """
    objectives = sweep.spec["search"].get("objectives") or ("mean",)
    directions = [
        StudyDirection.MAXIMIZE if is_maximized(one) else StudyDirection.MINIMIZE
        for one in objectives
    ]
    name = sweep.name if url is None else f"{sweep.name}-{sweep.sweep_id[:8]}"
    try:
        storage = _sqlite(path) if url is None else _open_url(url)
        return optuna.create_study(
            storage=storage, study_name=name, directions=directions, load_if_exists=True
        )
    # Blind on purpose: databases and their drivers raise what they like, and none may have a URL
    # or a file that another program damaged end in a traceback.
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise SweepError(f"search.study: cannot open {url or path}: {reason}") from error


def _sqlite(path: Path) -> BaseStorage:
    os.close(os.open(path, os.O_CREAT, 0o600))
    if not _is_sound(path):
        # The ledger makes the study anew; what is left of this one is kept for whoever wonders.
        path.rename(path.with_name(f"{path.name}.damaged"))
        os.close(os.open(path, os.O_CREAT, 0o600))
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S)
    # Kept in the file: readers such as Optuna Dashboard never block the driver.
    connection.execute("PRAGMA journal_mode=WAL")
    connection.close()
    return RDBStorage(sqlite_url(path), engine_kwargs={"connect_args": {"timeout": BUSY_TIMEOUT_S}})


def _is_sound(path: Path) -> bool:
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S)
    try:
        return bool(connection.execute("PRAGMA quick_check").fetchone() == ("ok",))
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
            return False
        raise
    finally:
        connection.close()


def _open_url(url: str) -> BaseStorage:
    if url.startswith(JOURNAL):
        path = Path(url.removeprefix(JOURNAL))
        os.close(os.open(path, os.O_CREAT, 0o600))
        return JournalStorage(JournalFileBackend(str(path)))
    assert url.startswith(POSTGRESQL), "the spec lets no other through"
    # SQLAlchemy's own choice for postgresql:// is the older psycopg2.
    with_driver = f"postgresql+psycopg://{url.removeprefix(POSTGRESQL)}"
    return RDBStorage(with_driver, engine_kwargs={"pool_pre_ping": True})
