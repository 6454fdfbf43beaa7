"""Conversations in a file's records: OpenAI's messages, ShareGPT's turns, Alpaca's history."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

from .json_records import kind_of

_ROLES: Final = {
    "system": "system",
    "developer": "system",
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "chatgpt": "assistant",
}
"""Role by the name of a speaker."""

_OF_TOOLS: Final = ("tool", "function", "function_call", "observation")
"""Speakers in conversations that call tools."""


class BadRecordError(ValueError):
    """A record has its fields, but what they say is no example; names the field at fault."""


@dataclass(frozen=True)
class FirstExchange:
    """Beginning of a conversation.

    Attributes:
        instruction: First text of the user, behind the system's text where there is one.
        output: The answer to it.
        has_more: True where the conversation continues.
    """

    instruction: str
    output: str
    has_more: bool


def first_exchange(turns: list[Any]) -> FirstExchange | None:
    """Return the first question and its answer; None where it begins otherwise, or not in text.

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
    """Return the first turns, cut short for a message."""
    return _shown(turns[:3])


def _said(turn: Any) -> tuple[str | None, str]:
    """Return the speaker's role, and the text; "" where it is no text."""
    if not isinstance(turn, dict):
        return None, ""
    name, content = _speaker(turn), _content(turn)
    if isinstance(content, list):
        # OpenAI's parts; a picture has no text.
        parts = [_text_of(part) for part in content]
        texts = [part for part in parts if part is not None]
        content = "".join(texts) if len(texts) == len(parts) else None
    role = _ROLES.get(name.lower()) if isinstance(name, str) else None
    return role, content if isinstance(content, str) else ""


def _speaker(turn: dict[str, Any]) -> Any:
    return turn.get("from", turn.get("role"))


def _content(turn: dict[str, Any]) -> Any:
    return turn.get("value", turn.get("content"))


def _text_of(part: Any) -> str | None:
    text = part.get("text") if isinstance(part, dict) else None
    return text if isinstance(text, str) else None


@dataclass(frozen=True)
class Conversation:
    """A whole conversation.

    Attributes:
        system: The system's text; None without one.
        exchanges: The user's text and the answer to it, turn by turn; at least one.
    """

    system: str | None
    exchanges: tuple[tuple[str, str], ...]


def read_conversation(name: str, turns: list[Any]) -> Conversation:
    """Return all that was said; a last question without an answer is left out.

    Args:
        name: The field that holds the turns.
        turns: See ``first_exchange``.

    Raises:
        BadRecordError: The speakers do not take turns, or a turn is not plain text.

    >>> read_conversation("messages", [{"role": "user", "content": "2+2?"},
    ...                                {"role": "assistant", "content": "4"}])
    Conversation(system=None, exchanges=(('2+2?', '4'),))
    """
    said = [_read_turn(f"{name}: turn {index + 1}", turn) for index, turn in enumerate(turns)]
    system = said[0][1] if said and said[0][0] == "system" else None
    start = 0 if system is None else 1
    for index, (role, _) in enumerate(said[start:]):
        due = "user" if index % 2 == 0 else "assistant"
        if role != due:
            first = ", or from system" if index + start == 0 else ""
            place = f"{name}: turn {index + start + 1}"
            raise BadRecordError(f"{place}: must be from {due}{first}, got {role}")
    texts = [text for _, text in said[start:]]
    exchanges = tuple(zip(texts[::2], texts[1::2], strict=False))
    if not exchanges:
        raise BadRecordError(f"{name}: must hold a question and its answer, got {_shown(turns)}")
    return Conversation(system, exchanges)


def read_history(name: str, pairs: list[Any]) -> tuple[tuple[str, str], ...]:
    """Return the exchanges before an Alpaca record's own, each a list of two texts.

    Raises:
        BadRecordError: One is something else.
    """
    for index, pair in enumerate(pairs):
        is_pair = isinstance(pair, list) and len(pair) == 2
        if not is_pair or not all(isinstance(text, str) and text.strip() for text in pair):
            place = f"{name}: turn {index + 1}"
            raise BadRecordError(f"{place}: must be a question and its answer, got {_shown(pair)}")
    return tuple((asked, answer) for asked, answer in pairs)


def _read_turn(place: str, turn: Any) -> tuple[str, str]:
    """Return a turn's role and text."""
    if not isinstance(turn, dict):
        raise BadRecordError(f"{place}: must be an object with role and text, got {kind_of(turn)}")
    name = _speaker(turn)
    calls = next((key for key in ("tool_calls", "function_call") if turn.get(key)), None)
    if calls or name in _OF_TOOLS:
        got = calls or name
        raise BadRecordError(f"{place}: must be text without calls of tools, got {got}")
    role = _ROLES.get(name.lower()) if isinstance(name, str) else None
    if role is None:
        known = ", ".join(_ROLES)
        raise BadRecordError(f"{place}: must be from one of {known}, got {_shown(name)}")
    if role == "assistant" and turn.get("weight") == 0:
        # OpenAI's mark of an answer that has no loss.
        raise BadRecordError(f"{place}: must have weight 1, or none, got 0")
    return role, _read_text(place, _content(turn))


def _read_text(place: str, content: Any) -> str:
    if isinstance(content, list):
        for part in content:
            if _text_of(part) is None:
                kind = part.get("type") if isinstance(part, dict) else None
                got = kind if isinstance(kind, str) else kind_of(part)
                raise BadRecordError(f"{place}: must hold text alone, got a part of type {got}")
        content = "".join(part["text"] for part in content)
    if not isinstance(content, str):
        raise BadRecordError(f"{place}: must be text, got {_shown(content)}")
    if not content.strip():
        raise BadRecordError(f"{place}: must not be empty")
    return content


def _shown(value: Any) -> str:
    return json.dumps(value, default=str)[:60]
