"""The command that helps next after an error."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

from droplora_sweep.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from droplora_sweep.errors import DropLoRASweepError

PROGRAM = "droplora-sweep"
_FILE = re.compile(r"(?P<file>.+\.ya?ml)(:\d+)?")
"""Place of a fault in a search-space file."""
ON_A_SWEEP = frozenset(
    {
        *("best", "clone", "compress", "diff", "export", "pin", "register", "report", "rerun"),
        *("resume", "retry", "status", "stop", "stop-trial", "sync"),
    }
)
"""Commands whose first argument is a sweep's name."""


def next_line(error: DropLoRASweepError, words: Sequence[str]) -> str | None:
    """Return ``next: droplora-sweep …``; None where the error's own text names a command.

    Args:
        error: An error that ended a command.
        words: The command and its arguments.
    """
    if f"{PROGRAM} " in str(error):
        return None
    return f"next: {PROGRAM} {error.next_command or _by_command(error, words)}"


def _by_command(error: DropLoRASweepError, words: Sequence[str]) -> str:
    """Return what helps with an error that names no command itself."""
    command = next((word for word in words if not word.startswith("-")), "")
    if isinstance(error, InputError) and (file := _file_of(error, words)):
        return shlex.join(["validate", file])
    if not isinstance(error, InputError) and command in ON_A_SWEEP and command != "status":
        after = words[words.index(command) + 1 :]
        names = [word for word in after if word and not word.startswith("-")]
        if names:
            return shlex.join(["status", names[0], *_storage(words)])
    return shlex.join([*([command] if command else []), "--help"])


def _file_of(error: InputError, words: Sequence[str]) -> str | None:
    """Return the search space at fault, or the one that was given with a faulty ``--set``."""
    for fault in error.faults:
        if found := _FILE.fullmatch(fault.where):
            return found["file"]
    if any(fault.where.startswith("--set") for fault in error.faults):
        return next((word for word in words if word.endswith((".yaml", ".yml"))), None)
    return None


def _storage(words: Sequence[str]) -> list[str]:
    """Return the option that says where the sweeps are, if it was given."""
    for index, word in enumerate(words):
        if word == "--storage":
            return list(words[index : index + 2])
        if word.startswith("--storage="):
            return [word]
    return []
