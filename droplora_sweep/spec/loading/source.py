"""A search-space file as read: what it ``extends``, and the ``--set`` overrides on top."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import TYPE_CHECKING

from droplora_sweep.errors import Fault, InputError
from droplora_sweep.spec.fields import split_path
from droplora_sweep.spec.parameters import Choice, Range

from .yaml_text import Parsed, Path, parse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .yaml_text import Path


EXTENDS = "extends"
"""Key of a search-space file; it is no field of a sweep, whose spec has the values alone."""

EXTENDS_DOC = (
    "A file, or several, that this one builds on, relative to it. Values here stand on top of "
    "theirs, and a later file's on top of an earlier one's: mappings are joined key by key; lists, "
    "the domain of a searched field, `search.stopping` and `task.benchmarks` are replaced whole; "
    "`null` takes a field out of `search.parameters`."
)

MAX_FILE_BYTES = 100_000
"""Ten times any search space; what is longer is some other file, and slow to read to its end."""

_WHOLE: tuple[Path, ...] = (("search", "stopping"), ("task", "benchmarks"))
"""Mappings whose keys mean nothing without the others."""

_PARAMETERS: Path = ("search", "parameters")


def read_layers(file: str | FilePath, instead: Parsed | None = None) -> Parsed:
    """The file's values on top of those of the files it extends, each with its place.

    Args:
        file: The search-space file.
        instead: An override of ``extends``; None for the file's own.

    Raises:
        InputError: A file cannot be read, is no YAML mapping, or extends what it must not.
    """
    own = _read(file)
    assert isinstance(own.value, dict)
    given = instead or Parsed(own.value.get(EXTENDS), own.places)
    own.value.pop(EXTENDS, None)
    place = given.places.get((EXTENDS,), given.places.get((), f"{file}:1"))
    result = Parsed({})
    for name in _names(given.value, place):
        part = FilePath(file).parent / name
        try:
            layer = _read(part)
        except InputError as error:
            raise InputError([_because(fault, place) for fault in error.faults]) from None
        assert isinstance(layer.value, dict)
        if EXTENDS in layer.value:
            problem = "must be left out of a file that others extend"
            raise InputError([Fault(layer.places[(EXTENDS,)], EXTENDS, problem)])
        result = merged(result, layer)
    return merged(result, own)


def merged(below: Parsed, above: Parsed) -> Parsed:
    """One layer on top of another; see ``EXTENDS_DOC`` for the rules."""
    places = dict(below.places)
    value = _merge(below.value, above.value, (), places, above.places)
    for path, place in above.places.items():
        places.setdefault(path, place)
    return Parsed(value, places, [*below.problems, *above.problems])


def _merge(
    below: object,
    above: object,
    path: Path,
    places: dict[Path, str],
    above_places: dict[Path, str],
) -> object:
    is_whole = path in _WHOLE or (path[:-1] == _PARAMETERS and len(path) == 3)
    if is_whole or not isinstance(below, dict) or not isinstance(above, dict):
        for old in [known for known in places if known[: len(path)] == path]:
            del places[old]
        return above
    result = dict(below)
    if path in above_places:
        places[path] = above_places[path]
    for key, value in above.items():
        inner = (*path, key)
        result[key] = _merge(below.get(key), value, inner, places, above_places)
        if path == _PARAMETERS and value is None:
            del result[key]
    return result


def _names(value: object, place: str) -> Sequence[str]:
    if value is None:
        return ()
    names = [value] if isinstance(value, str) else value
    if isinstance(names, list) and all(isinstance(name, str) and name for name in names):
        return names
    problem = f"must be a file name or a list of them, got {value!r}"
    raise InputError([Fault(place, EXTENDS, problem)])


def _because(fault: Fault, place: str) -> Fault:
    """A file that cannot be read is a fault of whoever names it."""
    if ":" in fault.where.rpartition("/")[2]:
        return fault
    return Fault(place, EXTENDS, f"{fault.where} {fault.problem}")


def _read(file: str | FilePath) -> Parsed:
    """One file; always of a mapping."""
    name = str(file)
    parsed = parse(_read_text(FilePath(file)), lambda line: f"{name}:{line}")
    if not isinstance(parsed.value, dict):
        if parsed.problems:
            raise InputError([Fault(place, "", problem) for _, place, problem in parsed.problems])
        kind = {type(None): "nothing", list: "a list"}.get(type(parsed.value), "a single value")
        raise InputError([Fault(f"{name}:1", "", f"must be a mapping of fields, got {kind}")])
    return parsed


def _read_text(file: FilePath) -> str:
    def refuse(problem: str) -> InputError:
        return InputError([Fault(str(file), "", problem)])

    try:
        with file.open("rb") as stream:
            content = stream.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        raise refuse("no such file") from None
    except IsADirectoryError:
        raise refuse("is a folder, not a file") from None
    except OSError as error:
        raise refuse(f"cannot be read: {error.strerror}") from None
    if len(content) > MAX_FILE_BYTES:
        raise refuse(f"must be at most {MAX_FILE_BYTES:,} bytes long")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise refuse(f"must be UTF-8, got the byte 0x{content[error.start]:02x}") from None


KINDS: tuple[Path, ...] = (("search", "sampler"), ("search", "stopping"))
"""Sections that may be a name, which is their ``kind``."""

_DOMAIN_KEYS = {*Choice.model_fields, *Range.model_fields}


@dataclass
class Source:
    """Plain data and where each value of it was given.

    Attributes:
        name: The file as the user named it.
        data: Values of the file and of the overrides.
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
    """Return the value of the last override of ``extends``; None where there is none."""
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
    if parts[:2] == ["search", "fidelity"] and len(parts) > 2:
        return ("search", "fidelity", ".".join(parts[2:]))
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
