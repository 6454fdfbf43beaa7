"""Reference answers, as FastChat publishes them in ``reference_answer/gpt-4.jsonl``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from droplora_sweep.errors import Fault, InputError

from .json_lines import read_json_lines

if TYPE_CHECKING:
    from pathlib import Path


def load_references(path: Path) -> dict[int, tuple[str, str]]:
    """Both turns' reference answers by question id.

    Raises:
        InputError: The file cannot be read or is not JSON lines, or a record lacks a question id
            or answers to two turns.
    """
    references: dict[int, tuple[str, str]] = {}
    faults: list[Fault] = []
    for where, record in read_json_lines(path):
        question_id, turns = record.get("question_id"), _turns(record)
        if not isinstance(question_id, int) or isinstance(question_id, bool):
            faults.append(Fault(where, "question_id", f"must be an integer, got {question_id!r}"))
        elif turns is None:
            faults.append(Fault(where, "choices", "must hold one choice with `turns` of two texts"))
        else:
            references[question_id] = turns
    if faults:
        raise InputError(faults[:5])
    return references


def _turns(record: dict[str, Any]) -> tuple[str, str] | None:
    match record:
        case {"choices": [{"turns": [str(first), str(second)]}, *_]}:
            return first, second
        case _:
            return None
