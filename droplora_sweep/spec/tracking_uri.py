"""Where an MLflow store may be, told without importing MLflow."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator

from droplora_sweep.errors import Fault, InputError
from droplora_sweep.redaction import redact

from .base import broken_rule

DATABRICKS = "databricks"
SCHEMES = ("http", "https", DATABRICKS, "sqlite", "postgresql", "mysql", "mssql")
"""What an address may begin with; a database's may name its Python driver behind a ``+``."""

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
        raise InputError([Fault("", option, problem)])


def _check(uri: str) -> str:
    if problem := tracking_uri_problem(uri):
        raise broken_rule(problem)
    return uri


TrackingUri = Annotated[str, AfterValidator(_check)]
"""The address of an MLflow store."""
