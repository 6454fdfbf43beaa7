"""URLs of sqlite files, as SQLAlchemy reads them for MLflow and Optuna."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

_ENCODED = {ord(character): f"%{ord(character):02X}" for character in "%?#"}
"""Characters that SQLAlchemy takes for an escape or for the end of the path."""

_URL = re.compile(r"sqlite(\+\w+)?:///(?P<path>[^?]*)", re.IGNORECASE)


def sqlite_url(path: Path) -> str:
    """The URL of a sqlite file, whatever characters its path has.

    MLflow makes the parent folders of what it reads literally behind ``sqlite:///``; with the
    driver in the scheme it leaves folders of encoded names alone.

    >>> sqlite_url(Path("/data/results/mlflow.db"))
    'sqlite:////data/results/mlflow.db'
    >>> sqlite_url(Path("/data/100%/mlflow.db"))
    'sqlite+pysqlite:////data/100%25/mlflow.db'
    """
    encoded = str(path).translate(_ENCODED)
    scheme = "sqlite" if encoded == str(path) else "sqlite+pysqlite"
    return f"{scheme}:///{encoded}"


def sqlite_file(url: str) -> Path | None:
    """The file that a sqlite URL names; None for any other URL, and for a store in memory.

    >>> sqlite_file("sqlite:////data/100%25/mlflow.db")
    PosixPath('/data/100%/mlflow.db')
    """
    found = _URL.match(url)
    path = "" if found is None else unquote(found["path"])
    return None if path in ("", ":memory:") else Path(path)
