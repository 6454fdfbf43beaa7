"""Reads a file of one JSON object per line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from droplora_sweep.errors import Fault, InputError

if TYPE_CHECKING:
    from pathlib import Path


def read_json_lines(path: Path) -> list[tuple[str, dict[str, Any]]]:
    """Pairs of ``file:line`` and object, in the file's order; blank lines are passed over.

    Raises:
        InputError: The file cannot be read, is not UTF-8, or has lines that are no JSON object.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError([Fault(str(path), "", f"must be UTF-8, got {error.reason}")]) from error
    except OSError as error:
        raise InputError([Fault(str(path), "", f"cannot be read: {error.strerror}")]) from error
    records: list[tuple[str, dict[str, Any]]] = []
    faults: list[Fault] = []
    # str.splitlines would also break at U+2028 and others, which may stand inside a JSON string.
    for line_number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        where = f"{path}:{line_number}"
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            faults.append(Fault(where, "", f"must be JSON: {error.msg}"))
            continue
        if isinstance(record, dict):
            records.append((where, record))
        else:
            faults.append(Fault(where, "", f"must be a JSON object, got {type(record).__name__}"))
    if faults:
        raise InputError(faults[:5])
    return records
