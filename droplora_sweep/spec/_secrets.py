"""No secret in a sweep's file: its values are kept in storage, in MLflow and in model cards.

Since nothing written has to be masked, a sweep can be resumed from what is written; the secret
itself is found again where it always was, in the environment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from droplora_sweep.errors import Fault, InputError
from droplora_sweep.redaction import secret_in

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ._yaml import Path

_WHERE = {
    "http": "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN",
    "https": "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN",
    "postgresql": "PGPASSWORD, or the file ~/.pgpass",
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the file ~/.aws/credentials",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
}
"""Where the clients of each kind of URL look for what the URL must not hold."""


def secret_problem(value: str) -> str | None:
    """The rule a text breaks by holding a secret, without showing it; None if it holds none."""
    found = secret_in(value)
    if found is None:
        return None
    scheme = value.partition("://")[0].partition("+")[0].lower() if "://" in value else ""
    where = _WHERE.get(scheme, "where its client looks for it")
    return (
        f"must not hold a secret, got {found}: what is given here is kept in storage and in "
        f"MLflow; give it in the environment ({where})"
    )


def find_secrets(value: object, path: Path = ()) -> Iterator[tuple[Path, str]]:
    """Path and problem of every text in plain data that holds a secret."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from find_secrets(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from find_secrets(inner, (*path, index))
    elif isinstance(value, str) and (problem := secret_problem(value)):
        yield path, problem


def require_no_secret(option: str, value: str) -> None:
    """Refuse a secret in the value of a command-line option.

    Raises:
        InputError: It holds one.
    """
    if problem := secret_problem(value):
        raise InputError([Fault("", option, problem)])
