"""What is rated, and what the ratings come to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


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
