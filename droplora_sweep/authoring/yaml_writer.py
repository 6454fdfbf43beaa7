"""YAML with a reason behind each value."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

WIDTH: Final = 100
COMMENT_COLUMN: Final = 40


@dataclass(frozen=True)
class Value:
    """A value of a file.

    Attributes:
        content: The value.
        why: The reason for it; "" for what needs none.
    """

    content: Any
    why: str = ""


Section: TypeAlias = "Mapping[str, Value | Section]"
"""Values by key, in the order that they are written in; an empty section is left out."""


def written(content: Section) -> str:
    r"""Return sections as YAML, with an empty line between those of the file.

    >>> written({"training": {"epochs": Value(3, "passes over the data")}})
    'training:\n  epochs: 3                             # passes over the data\n'
    """
    parts = ("\n".join(_lines({key: one}, 0)) for key, one in content.items() if one != {})
    return "\n\n".join(parts) + "\n"


def comment(text: str, indent: int = 0) -> Iterator[str]:
    """Yield a paragraph as lines of a comment."""
    start = f"{' ' * indent}# "
    yield from (start + line for line in textwrap.wrap(text, WIDTH - len(start)))


def _lines(section: Section, indent: int) -> Iterator[str]:
    space = " " * indent
    for key, one in section.items():
        if not isinstance(one, Value):
            if one:
                yield f"{space}{key}:"
                yield from _lines(one, indent + 2)
            continue
        text = f"{space}{key}: {_flow(one.content)}"
        beside = f"{text:<{COMMENT_COLUMN}}# {one.why}"
        if not one.why:
            yield text
        elif len(text) < COMMENT_COLUMN and len(beside) <= WIDTH:
            yield beside
        else:
            yield from comment(one.why, indent)
            yield text


def _flow(content: object) -> str:
    """Return a value on one line."""
    text = yaml.safe_dump(content, default_flow_style=True, width=10**9, sort_keys=False)
    return text.removesuffix("\n").removesuffix("\n...")
