"""Locations of models, data, MLflow stores and Optuna studies, as a file gives them."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated
from urllib.parse import unquote

from pydantic import AfterValidator

from droplora_sweep.errors import InputError
from droplora_sweep.redaction import redact

from .base import PathText, broken_rule

_HUB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*(/[A-Za-z0-9][A-Za-z0-9_.-]*)?")


DATA_SUFFIXES = (
    *(".json", ".jsonl", ".ndjson", ".gz", ".csv", ".tsv"),
    *(".parquet", ".arrow", ".feather"),
)
"""Endings of names of data files."""


def local_folder(path: str) -> Path:
    """The folder a local path means; relative ones start at the working directory."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        # There is no such user: the folder is named so, or is missing.
        return Path(path)


_URL = re.compile(r"[a-z][a-z0-9+.-]+://")
WEB_SCHEMES = ("https", "http")
STORE_SCHEMES = ("s3", "gs", "gcs", "abfs", "abfss", "hdfs")
"""Beginnings of an object store's URL, as pyarrow's file systems have them."""
_PIN = re.compile(r"sha256:[0-9a-f]{64}")


def is_url(text: str) -> bool:
    """Return whether a place is a URL rather than a path."""
    return _URL.match(text) is not None


def is_web_url(text: str) -> bool:
    """Return whether a place is a web server's URL."""
    return text.partition("://")[0] in WEB_SCHEMES and is_url(text)


def is_pin(revision: str) -> bool:
    """Return whether a revision names content by its digest, ``sha256:`` and 64 hex digits."""
    return _PIN.fullmatch(revision) is not None


def data_url_problem(url: str, *, may_be_file: bool) -> str | None:
    """Return the rule that the URL of data breaks; None if it breaks none.

    Args:
        url: What a file gives.
        may_be_file: True where one file will do; a web server has no folders.
    """
    scheme, _, rest = url.partition("://")
    if scheme == "file":
        return f"must be a path, or a URL of https, s3 or gs, got {redact(url)}"
    if scheme not in (*WEB_SCHEMES, *STORE_SCHEMES):
        return f"must be a URL of https, s3 or gs, a path or a Hub id, got {redact(url)}"
    if not rest.strip("/"):
        return f"must name a host or a bucket after ://, got {redact(url)}"
    if scheme in WEB_SCHEMES and not may_be_file:
        return (
            "must be a folder, a bucket's URL or a Hub id, got a web server's URL; one file is "
            "given as `task.benchmarks.<name>.data` or `task.train.data`"
        )
    return None


def is_hub_id(path: str) -> bool:
    """Return whether ``path`` is a Hub id: it reads like one, and no local folder has this name."""
    return _HUB_ID.fullmatch(path) is not None and not local_folder(path).is_dir()


def is_data_file_name(path: str) -> bool:
    """Return whether ``path`` ends as a data file does, which no Hub id in use does."""
    return path.endswith(DATA_SUFFIXES)


JOURNAL = "journal://"
"""An Optuna journal file: ``journal:///absolute/path``."""
POSTGRESQL = "postgresql://"


def study_url_problem(url: str) -> str | None:
    """The rule that a ``search.study`` breaks, None if it breaks none."""
    if url.startswith(POSTGRESQL):
        return None if url != POSTGRESQL else f"must name a host and a database, got {url}"
    if url.startswith(f"{JOURNAL}/") and not url.endswith("/"):
        return None
    return f"must be postgresql://HOST/DATABASE or journal:///PATH, got {url}"


def missing_driver(url: str | None) -> str | None:
    """The package that the URL needs and that is not installed."""
    if url is not None and url.startswith(POSTGRESQL) and find_spec("psycopg") is None:
        return "psycopg"
    return None


_ENCODED = {ord(character): f"%{ord(character):02X}" for character in "%?#"}
"""Characters that SQLAlchemy takes for an escape or for the end of the path."""

_SQLITE_URL = re.compile(r"sqlite(\+\w+)?:///(?P<path>[^?]*)", re.IGNORECASE)


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
    found = _SQLITE_URL.match(url)
    path = "" if found is None else unquote(found["path"])
    return None if path in ("", ":memory:") else Path(path)


DATABRICKS = "databricks"
SCHEMES = ("http", "https", DATABRICKS, "sqlite", "postgresql", "mysql", "mssql")
"""Beginnings of an address; a database's may name its Python driver behind a ``+``."""

_HOST = re.compile(r"(?P<host>[\w.-]+|\[[0-9a-f:]+\])(?P<port>:\d+)?(?P<path>/\S*)?", re.IGNORECASE)


def tracking_uri_problem(uri: str) -> str | None:
    """The rule that the address of an MLflow store breaks, and what may be meant; None if none.

    >>> tracking_uri_problem("https://mlflow.example.org")
    >>> tracking_uri_problem("localhost:5000").partition(", got ")[2]
    'localhost:5000; the server there is http://localhost:5000'
    """
    scheme, separator, rest = uri.partition("://")
    if uri == DATABRICKS or (separator and rest and scheme.partition("+")[0] in SCHEMES):
        return None
    known = ", ".join(f"{scheme}://" for scheme in SCHEMES)
    problem = f"must begin with one of {known}, got {redact(uri)}"
    return f"{problem}{_meant(uri)}"


def _meant(uri: str) -> str:
    host = _HOST.fullmatch(uri)
    if host is not None and (host["port"] or host["host"] == "localhost"):
        return f"; the server there is http://{uri}"
    if "://" in uri:
        return ""
    if uri.endswith(".db"):
        return f"; the sqlite file is sqlite:///{uri}"
    return "; left out, the store is a sqlite file in the sweep's storage"


def require_tracking_uri(option: str, uri: str | None) -> None:
    """Refuse an address of MLflow in a command-line option that no store can have.

    Raises:
        InputError: It has none of the known beginnings.
    """
    if uri is not None and (problem := tracking_uri_problem(uri)):
        raise InputError.of(option, problem)


def _check(uri: str) -> str:
    if problem := tracking_uri_problem(uri):
        raise broken_rule(problem)
    return uri


TrackingUri = Annotated[str, AfterValidator(_check)]
"""The address of an MLflow store."""

MAX_EXPERIMENT_CHARACTERS = 250


def _check_experiment(name: str) -> str:
    """Refuse a name that cannot also be that of a folder below the artifacts'."""
    parts = name.removeprefix("/").split("/")
    if not all(part.strip(" .") and part.isprintable() for part in parts):
        problem = "must be one name, or names joined by `/`, of characters that can be printed"
        raise broken_rule(f"{problem}, got {name!r}")
    if len(name) > MAX_EXPERIMENT_CHARACTERS:
        rule = f"must have at most {MAX_EXPERIMENT_CHARACTERS} characters"
        raise broken_rule(f"{rule}, got {len(name)}")
    return name


ExperimentName = Annotated[PathText, AfterValidator(_check_experiment)]
"""The name of an MLflow experiment; Databricks has some that begin with a slash."""
