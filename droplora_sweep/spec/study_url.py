"""Where a sweep's Optuna study may be."""

from __future__ import annotations

from importlib.util import find_spec

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
