"""Rules that every message of the package keeps; ``python -m tests.messages`` lists them."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

import pytest

from tests.messages import Message, messages
from tests.words import REFUSED

if TYPE_CHECKING:
    from collections.abc import Callable

FILLED = re.compile(r"\{[^{}]*(\{[^{}]*\}[^{}]*)*\}")
"""A value in a message; its expression is no text."""
MAX_CHARACTERS = 330
OPENINGS = (
    "must ",
    "needs ",
    "is ",
    "has ",
    "cannot ",
    "no such ",
    "unknown ",
)
"""Words that begin the problem of a fault, whose field comes before it."""
NOT_FOR_USERS = r"None|True|False|Traceback|Exception|[Pp]lease|[Ss]orry|[Oo]ops|invalid|illegal"
"""Python's names of values, and words that help nobody."""


@cache
def known() -> list[Message]:
    return messages()


def plain(message: Message) -> str:
    """The message without the values that are filled in."""
    return FILLED.sub("…", message.text)


def too_long(message: Message) -> bool:
    return len(plain(message)) > MAX_CHARACTERS


def has_refused_words(message: Message) -> bool:
    words = "|".join((NOT_FOR_USERS, *REFUSED))
    return re.search(rf"\b(?:{words})\b", plain(message)) is not None


def begins_otherwise(message: Message) -> bool:
    """A fault begins with a rule, help with a capital."""
    text = plain(message)
    if message.kind == "fault":
        return not text.startswith((*OPENINGS, "…", "`"))
    return message.kind == "help" and not (text[0].isupper() or text.startswith(("…", "auto ")))


def ends_otherwise(message: Message) -> bool:
    """Help is a sentence; a fault or an error is a line with a colon, and has no full stop."""
    if message.kind == "said":
        return False
    text = plain(message).rstrip()
    return text.endswith(".") != (message.kind == "help") or text.endswith("!")


@pytest.mark.parametrize("breaks", [too_long, has_refused_words, begins_otherwise, ends_otherwise])
def test_messages_keep_the_rules(breaks: Callable[[Message], bool]) -> None:
    assert [str(each) for each in known() if breaks(each)] == []
