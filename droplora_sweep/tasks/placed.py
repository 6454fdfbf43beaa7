"""Records with their places, and what is wrong with a file that holds them."""

from __future__ import annotations

from typing import Any, Final, TypeAlias

Placed: TypeAlias = "tuple[str, Any]"
"""A record's place, which a message about the record begins with, and the record."""

MAX_NESTING: Final = 100
"""Levels of lists and objects in a record. What a reader can hold depends on the caller's own
stack; this does not, so that a record is good or bad on every machine alike."""

_KINDS: Final = {
    dict: "an object",
    list: "a list",
    str: "text",
    bool: "true or false",
    int: "a number",
    float: "a number",
    type(None): "null",
}


class BadDataError(ValueError):
    """A data file breaks a rule; carries one text per problem, each with the file and place."""

    def __init__(self, problems: list[str]) -> None:
        assert problems, "a BadDataError needs a problem"
        self.problems = problems
        super().__init__("\n".join(problems))


def kind_of(value: Any) -> str:
    """The value's kind in JSON's words, for a message."""
    return _KINDS.get(type(value), type(value).__name__)


def is_nested_too_deeply(value: Any) -> bool:
    """Whether lists and objects lie more than ``MAX_NESTING`` levels within each other."""
    level = [value]
    for _ in range(MAX_NESTING + 1):
        level = [inner for outer in level for inner in _inside(outer)]
        if not level:
            return False
    return True


def _inside(value: Any) -> list[Any]:
    """The lists and objects in a list or object."""
    values = value.values() if isinstance(value, dict) else value
    if not isinstance(value, dict | list | tuple):
        return []
    return [one for one in values if isinstance(one, dict | list | tuple)]
