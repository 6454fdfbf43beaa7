"""A complete response is read as all its continuations are."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest

from droplora_sweep.scorers.choice import extract_choice, read_choice
from droplora_sweep.scorers.program import extract_code, read_code
from droplora_sweep.scorers.table import make_scorer

if TYPE_CHECKING:
    from collections.abc import Callable

RELEASED = ("answer1", "answer2", "answer3", "answer4", "answer5")
APART = ("answer1", "answer2")
NUMBERS = ("1", "2", "1.2", "12 a")
NESTED = ("answer1", "answer12", "er1 a", "true")
WORDS = (
    "answer",
    "1",
    "2",
    ".",
    ",",
    " ",
    "er",
    "a",
    "the correct answer is ",
    "true",
    ".",
    "\n",
    "answer1",
)
CODE = (
    *("```python", "```", "\n", "\n```", "``", "`", "p", "py", "python", "\r", " ", "    "),
    *("assert", "# Example usage", 'if __name__ == "__main__":', "x = 1"),
)


def rule(scoring: str, protocol: Any, options: tuple[str, ...] = ()) -> Any:
    return make_scorer(scoring, options).stop_rule(protocol)


@pytest.mark.parametrize("scoring", ["number", "math", "exact", "regex"])
@pytest.mark.parametrize("protocol", ["paper", "strict"])
def test_what_the_last_token_may_change_only_eos_ends(scoring: str, protocol: Any) -> None:
    assert rule(scoring, protocol) is None


@pytest.mark.parametrize(
    ("scoring", "protocol", "options", "read"),
    [
        ("choice", "paper", RELEASED, lambda text: extract_choice(text, RELEASED)),
        ("choice", "paper", NUMBERS, lambda text: extract_choice(text, NUMBERS)),
        ("choice", "paper", APART, lambda text: extract_choice(text, APART)),
        ("choice", "paper", NESTED, lambda text: extract_choice(text, NESTED)),
        ("choice", "strict", APART, lambda text: read_choice(text, APART)),
        ("choice", "strict", NESTED, lambda text: read_choice(text, NESTED)),
        ("code", "paper", (), extract_code),
        ("code", "strict", (), read_code),
    ],
)
def test_nothing_behind_a_complete_response_counts(
    scoring: str, protocol: Any, options: tuple[str, ...], read: Callable[[str], str | None]
) -> None:
    stop, random_ = rule(scoring, protocol, options), random.Random(0)
    num_complete = 0
    for _ in range(10_000):
        text, further = (
            "".join(random_.choices(CODE if scoring == "code" else WORDS, k=random_.randrange(9)))
            for _ in range(2)
        )
        if stop.is_complete(text):
            num_complete += 1
            assert read(text) == read(text + further)
            assert not stop.endings or any(ending in text for ending in stop.endings)
    assert num_complete > 50


@pytest.mark.parametrize(
    ("scoring", "protocol", "text"),
    [
        ("choice", "paper", "the correct answer is answer1"),
        ("choice", "strict", "The"),
        ("choice", "strict", "answer1 or"),
        ("code", "paper", "```python\nx = 1\n```\n"),
        ("code", "paper", "```python\nx = 1\nassert"),
        ("code", "strict", "```python\nx = 1\n```"),
    ],
)
def test_complete_with_its_last_token_and_not_before(
    scoring: str, protocol: Any, text: str
) -> None:
    stop = rule(scoring, protocol, RELEASED)
    assert stop.is_complete(text)
    assert not stop.is_complete(text[:-1].rstrip(" o")) or text == "The"
