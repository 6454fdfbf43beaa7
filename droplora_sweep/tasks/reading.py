"""Reads files of LLM-Adapters records: a JSON list, or one JSON object per line."""

from __future__ import annotations

import json
import math
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Final

from .records import Example

if TYPE_CHECKING:
    from pathlib import Path

    from .registry import BenchmarkEntry

FIELDS: Final = tuple(field.name for field in fields(Example))
MAX_PROBLEMS_PER_FILE: Final = 5
"""A file in a wrong format has the same problem in each record; the rest are only counted."""


class BadDataError(ValueError):
    """A data file breaks a rule; carries one text per problem, each with the file and place."""

    def __init__(self, problems: list[str]) -> None:
        assert problems, "a BadDataError needs a problem"
        self.problems = problems
        super().__init__("\n".join(problems))


def read_examples(path: Path, entry: BenchmarkEntry) -> tuple[Example, ...]:
    """Every record of the file, in its order.

    A record needs the fields ``instruction``, ``input``, ``output`` and ``answer``, all text;
    other fields are ignored.

    Raises:
        BadDataError: The file cannot be read, is not JSON, is empty, or has records that lack a
            field or have an answer that no response could lead to.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadDataError([f"{path}: must be UTF-8 text, got {error.reason}"]) from error
    except OSError as error:
        raise BadDataError([f"{path}: cannot be read: {error.strerror}"]) from error
    records = _parse_lines(path, text) if path.suffix == ".jsonl" else _parse_list(path, text)
    if not records:
        raise BadDataError([f"{path}: must hold at least one record, got none"])
    problems = [
        f"{place}: {problem}"
        for place, record in records
        for problem in _record_problems(record, entry)
    ]
    if problems:
        num_more = len(problems) - MAX_PROBLEMS_PER_FILE
        more = [f"{path}: {num_more} more such problems"] if num_more > 0 else []
        raise BadDataError(problems[:MAX_PROBLEMS_PER_FILE] + more)
    return tuple(Example(**{name: record[name] for name in FIELDS}) for _, record in records)


def _parse_list(path: Path, text: str) -> list[tuple[str, Any]]:
    """Pairs of place and record."""
    try:
        records = json.loads(text)
    except json.JSONDecodeError as error:
        raise BadDataError([f"{path}:{error.lineno}: must be JSON: {error.msg}"]) from error
    if not isinstance(records, list):
        raise BadDataError([f"{path}:1: must be a JSON list, got {type(records).__name__}"])
    return [(f"{path}: record {index}", record) for index, record in enumerate(records, 1)]


def _parse_lines(path: Path, text: str) -> list[tuple[str, Any]]:
    records = []
    # str.splitlines would also break at U+2028 and others, which may stand inside a JSON string.
    for line_number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            records.append((f"{path}:{line_number}", json.loads(line)))
        except json.JSONDecodeError as error:
            raise BadDataError([f"{path}:{line_number}: must be JSON: {error.msg}"]) from error
    return records


def _record_problems(record: Any, entry: BenchmarkEntry) -> list[str]:
    if not isinstance(record, dict):
        return [f"must be an object with {', '.join(FIELDS)}, got {type(record).__name__}"]
    problems = []
    for name in FIELDS:
        if name not in record:
            problems.append(f"{name}: is missing; every record needs {', '.join(FIELDS)}")
        elif not isinstance(record[name], str):
            problems.append(f"{name}: must be text, got {json.dumps(record[name])[:60]}")
        elif name != "input" and not record[name].strip():
            problems.append(f"{name}: must not be empty")
    return problems or _answer_problems(record["answer"], entry)


def _answer_problems(answer: str, entry: BenchmarkEntry) -> list[str]:
    if entry.scoring == "choice" and answer not in entry.options:
        return [f"answer: must be one of {', '.join(entry.options)}, got {answer!r}"]
    if entry.scoring == "number" and not _is_number(answer):
        return [f"answer: must be a number, got {answer!r}"]
    return []


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
