"""The endpoint's key: read from its place, hidden everywhere else."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pydantic import SecretStr

from droplora_sweep.errors import Fault, InputError

if TYPE_CHECKING:
    from droplora_sweep.spec.judge import JudgeSpec

MIN_SECRET_CHARACTERS: Final = 8
"""Shorter keys, such as the ``EMPTY`` that local servers take, are no secrets and not redacted."""

_MAX_FILE_BYTES: Final = 16_384


def read_key(spec: JudgeSpec) -> SecretStr | None:
    """The key from ``key_env`` or ``key_file``; None if the spec has neither.

    Raises:
        InputError: The variable is not set; the file cannot be read or others than its owner can
            read or change it; the key is empty or could not stand in an HTTP header.
    """
    if spec.key_env is not None:
        return _checked(os.environ.get(spec.key_env, ""), f"environment variable {spec.key_env}")
    if spec.key_file is not None:
        path = Path(spec.key_file).expanduser()
        return _checked(_read_private(path), str(path))
    return None


def redacted(text: str, key: SecretStr | None) -> str:
    """The text without the key, which an endpoint's error may repeat."""
    secret = key.get_secret_value() if key is not None else ""
    return text.replace(secret, "[key]") if len(secret) >= MIN_SECRET_CHARACTERS else text


def _read_private(path: Path) -> str:
    try:
        # The open file is checked, not its path, which could come to mean another file.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise _fault(str(path), "must be a file")
            mode = stat.S_IMODE(status.st_mode)
            if mode & 0o077:
                raise _fault(
                    str(path), f"must be for its owner alone (chmod 600), got mode {mode:04o}"
                )
            return file.read(_MAX_FILE_BYTES).decode("utf-8", "replace")
    except OSError as error:
        raise _fault(str(path), f"cannot be read: {error.strerror}") from error


def _checked(text: str, where: str) -> SecretStr:
    secret = text.strip()
    if not secret:
        raise _fault(where, "must hold the judge's API key, got nothing")
    # An HTTP library would show the key in its complaint.
    if not all("!" <= character <= "~" for character in secret):
        raise _fault(where, "must hold one API key of visible ASCII characters")
    return SecretStr(secret)


def _fault(where: str, problem: str) -> InputError:
    return InputError([Fault(where, "", problem)])
