"""YAML text to plain values whose places are known; what a search space does not need is refused.

Scalars are read by YAML 1.2's core rules: ``1e-4`` is a number, ``no`` and ``on`` are text. Tags
(they can run code), anchors and aliases (they can expand to gigabytes), duplicate keys, NaN and
infinity are refused.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import yaml

from droplora_sweep.errors import Fault, InputError

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_NESTING = 20
MAX_INTEGER_DIGITS = 18

Path = tuple[str | int, ...]

_NULL = re.compile(r"|~|null|Null|NULL")
_BOOL = re.compile(r"(?P<true>true|True|TRUE)|false|False|FALSE")
_INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NO_TEXT = re.compile(r"[\0\ud800-\udfff]")
"""Escapes in quotes can give these, which no file name and no UTF-8 file holds."""
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


@dataclass
class Parsed:
    """Values of a document, with their places.

    Attributes:
        value: Mappings, lists and scalars; what was refused is left out.
        places: Place of each value.
        problems: Path and problem of what was refused.
    """

    value: object = None
    places: dict[Path, str] = field(default_factory=dict)
    problems: list[tuple[Path, str, str]] = field(default_factory=list)


def parse(text: str, where: Callable[[int], str]) -> Parsed:
    """Read one YAML document.

    Args:
        text: The document.
        where: Names the place of a line, counted from 1.

    Raises:
        InputError: The text is not YAML, nested too deeply, or more than one document.
    """
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = " ".join(filter(None, (error.context, error.problem)))
        if error.context == "expected a single document in the stream":
            problem = "must be a single document, found another one"
        elif not isinstance(error, _TooDeepError):
            problem = f"is not valid YAML: {problem}"
        line = mark.line + 1 if mark else 1
        raise InputError([Fault(where(line), "", problem)]) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        problem = f"must not contain the character U+{error.character:04X}"
        raise InputError([Fault(where(line), "", problem)]) from None
    builder = _Builder(loader.refused, where)
    if root is not None:
        builder.parsed.value = builder.build(root, (), root)
    return builder.parsed


class _TooDeepError(yaml.MarkedYAMLError):
    pass


class _Loader(yaml.SafeLoader):
    """Composes nodes, noting each tag, anchor and alias instead of acting on it."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.refused: dict[int, str] = {}
        self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node:
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent):
            self.get_event()
            # yaml's annotations of a mark name its C reader's too, which this loader never uses.
            alias = yaml.ScalarNode("", "", event.start_mark, event.end_mark)  # type: ignore[arg-type]
            return self._refuse(alias, f"anchors and aliases are refused, got *{event.anchor}")
        if self._depth > MAX_NESTING:
            raise _TooDeepError(
                problem=f"must not be nested more than {MAX_NESTING} deep",
                problem_mark=event.start_mark,
            )
        anchor, event.anchor = event.anchor, None
        tag, event.tag = event.tag, None
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        assert node is not None, "every event but an alias composes a node"
        if tag is not None:
            tag = tag.replace("tag:yaml.org,2002:", "!!", 1)
            return self._refuse(node, f"YAML tags are refused, got {tag}")
        if anchor is not None:
            return self._refuse(node, f"anchors and aliases are refused, got &{anchor}")
        return node

    def _refuse(self, node: yaml.Node, problem: str) -> yaml.Node:
        self.refused[id(node)] = problem
        return node


_REFUSED = object()


class _Builder:
    """Turns nodes into values."""

    def __init__(self, refused: dict[int, str], where: Callable[[int], str]) -> None:
        self.parsed = Parsed()
        self._refused = refused
        self._where = where

    def build(self, node: yaml.Node, path: Path, key: yaml.Node) -> object:
        """The node's value; ``key`` is where a mapping or list begins for its reader."""
        place = self._place(node if isinstance(node, yaml.ScalarNode) else key)
        self.parsed.places[path] = place
        if id(node) in self._refused:
            return self._refuse(path, node, self._refused[id(node)])
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            items = [self.build(item, (*path, i), item) for i, item in enumerate(node.value)]
            return [item for item in items if item is not _REFUSED]
        assert isinstance(node, yaml.ScalarNode), "YAML has no other kind of node"
        return self._scalar(node, path)

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, object]:
        mapping: dict[str, object] = {}
        first_places: dict[str, str] = {}
        for key, item in node.value:
            if not isinstance(key, yaml.ScalarNode) or id(key) in self._refused:
                problem = self._refused.get(id(key), "keys must be text")
                self._refuse(path, key, problem)
                continue
            name = key.value
            if name in first_places:
                first = first_places[name]
                self._refuse((*path, name), key, f"duplicate key, first given at {first}")
                continue
            first_places[name] = self._place(key)
            value = self.build(item, (*path, name), key)
            if value is not _REFUSED:
                mapping[name] = value
        return mapping

    def _scalar(self, node: yaml.ScalarNode, path: Path) -> object:
        text: str = node.value
        if match := _NO_TEXT.search(text):
            problem = f"must not contain the character U+{ord(match[0]):04X}"
            return self._refuse(path, node, problem)
        if node.style is not None:
            return text
        if _NULL.fullmatch(text):
            return None
        if match := _BOOL.fullmatch(text):
            return bool(match["true"])
        if _INTEGER.fullmatch(text):
            if len(text) > MAX_INTEGER_DIGITS:
                problem = f"must have at most {MAX_INTEGER_DIGITS} digits, got {len(text)}"
                return self._refuse(path, node, problem)
            return int(text, 0 if text[:2] in ("0o", "0x") else 10)
        if _FLOAT.fullmatch(text) and math.isfinite(number := float(text)):
            return number
        if _FLOAT.fullmatch(text) or _NOT_FINITE.fullmatch(text):
            return self._refuse(path, node, f"must be a finite number, got {text}")
        return text

    def _refuse(self, path: Path, node: yaml.Node, problem: str) -> object:
        self.parsed.problems.append((path, self._place(node), problem))
        return _REFUSED

    def _place(self, node: yaml.Node) -> str:
        return self._where(node.start_mark.line + 1)
