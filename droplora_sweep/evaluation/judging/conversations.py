"""Conversations to be rated, with their reference answers."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from droplora_sweep.errors import Fault, InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
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


@dataclass(frozen=True)
class Conversation:
    """One question of one turn or two, and a model's answers.

    Attributes:
        question_id: The question's number.
        category: MT-Bench's, e.g. ``writing``; it chooses the prompts.
        turns: What the user says in each turn.
        answers: What the rated model answered in each turn.
        reference: A right answer to each of two turns; None looks in the spec's ``references``.
            A question of one turn is rated without.
    """

    question_id: int
    category: str
    turns: tuple[str, ...]
    answers: tuple[str, ...]
    reference: tuple[str, str] | None = None


@dataclass(frozen=True)
class Rating:
    """What the judge gave one turn of a conversation.

    Attributes:
        question_id: ``Conversation.question_id``.
        turn: 1 or 2.
        rating: In [1, 10]; None if it is missing.
        reason: Why it is missing, in one line; None if it is not.
        prompt_digest: Names the request, and its reply's file in the cache.
        num_tokens: What prompt and reply came to when they were paid for; 0 without a reply.
        tokens_estimated: The endpoint did not count them, so they were estimated from the text.
        cached: Nothing was sent for this rating: its reply was there already.
    """

    question_id: int
    turn: int
    rating: float | None
    reason: str | None
    prompt_digest: str
    num_tokens: int
    tokens_estimated: bool
    cached: bool


def score_ratings(ratings: Iterable[Rating]) -> dict[str, float | None]:
    """Means over the ratings that are there, and how many are not.

    Returns:
        ``turn_1``, ``turn_2`` and ``mean`` (over both turns' ratings, as FastChat has it), each
        None where no rating is there; ``num_ratings`` and ``num_missing``.
    """
    ratings = list(ratings)
    given = [(entry.turn, entry.rating) for entry in ratings if entry.rating is not None]
    return {
        "turn_1": _mean([rating for turn, rating in given if turn == 1]),
        "turn_2": _mean([rating for turn, rating in given if turn == 2]),
        "mean": _mean([rating for _, rating in given]),
        "num_ratings": len(given),
        "num_missing": len(ratings) - len(given),
    }


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


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
