"""Conversations, as ShareGPT and OpenAI's API lay them out, read up to their first answer."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

_ROLES: Final = {
    "system": "system",
    "developer": "system",
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "chatgpt": "assistant",
}
"""What each name of a speaker means."""


@dataclass(frozen=True)
class FirstExchange:
    """How a conversation begins.

    Attributes:
        instruction: What the user says first, behind the system's text where there is one.
        output: The answer to it.
        has_more: Whether it goes on.
    """

    instruction: str
    output: str
    has_more: bool


def first_exchange(turns: list[Any]) -> FirstExchange | None:
    """The first question and its answer; None where it begins otherwise, or not in text.

    A turn is ``{"from": "human", "value": text}`` or ``{"role": "user", "content": text}``.

    >>> first_exchange([{"from": "human", "value": "2+2?"}, {"from": "gpt", "value": "4"}])
    FirstExchange(instruction='2+2?', output='4', has_more=False)
    """
    said = [_said(turn) for turn in turns[:3]]
    system = said.pop(0) if said and said[0][0] == "system" else None
    if [role for role, _ in said[:2]] != ["user", "assistant"]:
        return None
    texts = [text for _, text in ([system] if system else []) + said[:2]]
    if not all(text.strip() for text in texts):
        return None
    *asked, output = texts
    num_read = len(texts)
    return FirstExchange("\n\n".join(asked), output, len(turns) > num_read)


def how_it_begins(turns: list[Any]) -> str:
    """The first turns, cut short for a message."""
    return json.dumps(turns[:3], default=str)[:60]


def _said(turn: Any) -> tuple[str | None, str]:
    """Who speaks, and the text; "" where it is no text."""
    if not isinstance(turn, dict):
        return None, ""
    name = turn.get("from", turn.get("role"))
    content = turn.get("value", turn.get("content"))
    if isinstance(content, list):
        # OpenAI's parts; a picture has no text.
        parts = [part.get("text") if isinstance(part, dict) else None for part in content]
        texts = [part for part in parts if isinstance(part, str)]
        content = "".join(texts) if len(texts) == len(parts) else None
    role = _ROLES.get(name.lower()) if isinstance(name, str) else None
    return role, content if isinstance(content, str) else ""
