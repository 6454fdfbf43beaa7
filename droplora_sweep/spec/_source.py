"""A search-space file with its ``--set`` overrides, before it is known to be valid."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from droplora_sweep.errors import Fault, InputError

from ._layers import EXTENDS, read_layers
from ._yaml import Parsed, Path, parse
from .fields import split_path
from .parameters import Choice, Range

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path as FilePath

KINDS: tuple[Path, ...] = (("search", "sampler"), ("search", "stopping"))
"""Sections that may be a name, which is their ``kind``."""

_DOMAIN_KEYS = {*Choice.model_fields, *Range.model_fields}


@dataclass
class Source:
    """Plain data and where each value of it was given.

    Attributes:
        name: The file as the user named it.
        data: What the file and the overrides say.
        places: ``file:line`` or ``--set ...`` by path.
        problems: Path, place and problem of what could not be read.
        overridden: Paths that overrides gave a value.
    """

    name: str
    data: dict[str, object]
    places: dict[Path, str]
    problems: list[tuple[Path, str, str]] = field(default_factory=list)
    overridden: list[Path] = field(default_factory=list)

    def where(self, path: Path) -> str:
        """The place of a value, or of the nearest mapping around a value that was not given."""
        for length in range(len(path), -1, -1):
            if path[:length] in self.places:
                return self.places[path[:length]]
        return self.name

    def fault(self, path: Path, problem: str) -> Fault:
        """A fault of the value at ``path``."""
        return Fault(self.where(path), dotted(path), problem)


def dotted(path: Path) -> str:
    """``("task", "benchmarks", 0)`` as ``task.benchmarks[0]``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".")


def read_source(file: str | FilePath, overrides: Sequence[str] = ()) -> Source:
    """Read the file and what it extends, and apply the overrides in order.

    An override of ``extends`` is applied first: it says which files there are to override.

    Raises:
        InputError: A file cannot be read, or is no YAML mapping.
    """
    name = str(file)
    parsed = read_layers(file, _other_layers(overrides))
    assert isinstance(parsed.value, dict)
    source = Source(name, parsed.value, parsed.places, parsed.problems)
    source.places[()] = f"{name}:1"
    for override in overrides:
        if not _is_of_layers(override):
            apply_override(source, override)
    return source


def _is_of_layers(override: str) -> bool:
    return override.partition("=")[0].strip() == EXTENDS and "=" in override


def _other_layers(overrides: Sequence[str]) -> Parsed | None:
    """What the last override of ``extends`` says; None where there is none."""
    found = None
    for override in filter(_is_of_layers, overrides):
        place = _place(override)
        try:
            found = parse(override.partition("=")[2], lambda _, place=place: place)  # type: ignore[misc]
        except InputError as error:
            faults = [Fault(place, EXTENDS, fault.problem) for fault in error.faults]
            raise InputError(faults) from None
        if found.problems:
            raise InputError([Fault(at, EXTENDS, problem) for _, at, problem in found.problems])
    return found


def _place(override: str) -> str:
    return f"--set {' '.join(override.split())}"


def path_of(text: str) -> Path:
    """The path a dotted name means; keys of ``search.parameters`` and of mappings hold dots."""
    text, *indices = re.split(r"\[(\d+)\]$", text)
    if indices:
        return (*path_of(text), int(indices[0]))
    parts = text.split(".")
    if parts[:2] != ["search", "parameters"] or len(parts) < 3:
        return split_path(text)
    head, rest = tuple(parts[:2]), parts[2:]
    if "when" in rest[1:]:
        split = rest.index("when", 1)
        condition = (".".join(rest[split + 1 :]),) if rest[split + 1 :] else ()
        return (*head, ".".join(rest[:split]), "when", *condition)
    if len(rest) > 1 and rest[-1] in _DOMAIN_KEYS:
        return (*head, ".".join(rest[:-1]), rest[-1])
    return (*head, ".".join(rest))


def apply_override(source: Source, override: str) -> None:
    """Replace one value, ``path=value``; what cannot be read becomes a problem of the source."""
    place = _place(override)
    text, equals, value_text = override.partition("=")
    if not equals or not all(text.split(".")):
        source.problems.append(((), place, "must be `path=value`, e.g. adapter.rank=8"))
        return
    path = path_of(text.strip())
    try:
        parsed = parse(value_text, lambda _: place)
    except InputError as error:
        source.problems.extend((path, place, fault.problem) for fault in error.faults)
        return
    if parsed.problems:
        source.problems.extend((path + inner, at, why) for inner, at, why in parsed.problems)
        return
    section: object = source.data
    for depth, key in enumerate(path[:-1]):
        assert isinstance(section, dict)
        source.places.setdefault(path[: depth + 1], place)
        inner = section.setdefault(key, {})
        if path[: depth + 1] in KINDS and isinstance(inner, str):
            inner = section[key] = {"kind": inner}
        section = inner
        if not isinstance(section, dict):
            problem = f"`{dotted(path[: depth + 1])}` is not a mapping"
            source.problems.append((path, place, problem))
            return
    assert isinstance(section, dict)
    if parsed.value is None and path[:2] == ("search", "parameters") and len(path) == 3:
        section.pop(path[-1], None)
    else:
        section[path[-1]] = parsed.value
    for old in [known for known in source.places if known[: len(path)] == path]:
        del source.places[old]
    source.places |= {path + inner: at for inner, at in parsed.places.items()}
    source.places[path] = place
    source.overridden.append(path)
