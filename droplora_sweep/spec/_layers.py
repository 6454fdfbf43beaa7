"""A search space put together from parts: the files it ``extends``, with its own values on top."""

from __future__ import annotations

from pathlib import Path as FilePath
from typing import TYPE_CHECKING

from droplora_sweep.errors import Fault, InputError

from ._yaml import Parsed, parse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ._yaml import Path

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
        instead: What an override gives for ``extends``; None for the file's own.

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
