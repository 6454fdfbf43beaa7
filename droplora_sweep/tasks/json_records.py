"""JSON text as records with their places: a list, one object per line, or another program's table.

What a text is follows from the text, not from the file's name: data sets are published as JSON
lines in ``.json`` files, and as ``{"data": [...]}``, and pandas writes a mapping of columns.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path


Placed: TypeAlias = "tuple[str, Any]"
"""A record's place, which a message about the record begins with, and the record."""

MAX_NESTING: Final = 100
"""Most levels of lists and objects in a record. A reader's own limit depends on the caller's stack;
this one does not, so that a record is good or bad on every machine alike."""

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

    def __init__(self, *problems: str) -> None:
        assert problems, "a BadDataError needs a problem"
        self.problems = problems
        super().__init__("\n".join(problems))


def kind_of(value: Any) -> str:
    """Return the value's kind in JSON's words, for a message."""
    return _KINDS.get(type(value), type(value).__name__)


def is_nested_too_deeply(value: Any) -> bool:
    """Return True if lists and objects lie more than ``MAX_NESTING`` levels within each other."""
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


MAX_DIGITS: Final = 4_300
"""Most digits of an integer: Python's own limit, above which reading takes quadratic time."""

TURN_LISTS: Final = ("conversations", "messages")
"""Fields of one record that hold a list of objects, as a file of records does."""

_TOO_DEEP: Final = f"must be nested at most {MAX_NESTING} levels deep, got more"
_MARK: Final = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{},]', re.DOTALL)


class _LongInteger(NamedTuple):
    """An integer that was not read, for its length."""

    num_digits: int


def parse_records(path: Path, text: str, problems: list[str]) -> list[Placed]:
    """Return every record of a file, in its order.

    Args:
        path: Name of the file, for messages.
        text: Content of the file.
        problems: Of records that cannot be read, one text each is added.

    Raises:
        BadDataError: It is neither a list of records, nor lines of them, nor a table.
    """
    reader = _Reader(problems)
    is_named_lines = path.name.removesuffix(".gz").endswith((".jsonl", ".ndjson"))
    if _is_lines(text) or (is_named_lines and not _is_list(text)):
        return _parse_lines(path, text, reader)
    try:
        value = reader.decode(text)
    except json.JSONDecodeError as error:
        raise BadDataError(f"{path}:{error.lineno}: must be JSON: {error.msg}") from error
    except RecursionError:
        # One record cannot be read, and its place is not known.
        return list(_parse_elements(path, text, reader))
    rows = enumerate(_rows(path, value), 1)
    return list(reader.readable((f"{path}: record {index}", row) for index, row in rows))


def parse_object(path: Path, text: str, problems: list[str]) -> list[Placed]:
    """Return the one record of a file; none, and a problem, where it cannot be read."""
    reader = _Reader(problems)
    try:
        return list(reader.readable([(str(path), reader.decode(text))]))
    except json.JSONDecodeError as error:
        problems.append(f"{path}:{error.lineno}: must be JSON: {error.msg}")
    except RecursionError:
        problems.append(f"{path}: {_TOO_DEEP}")
    return []


class _Reader:
    """Decoder of texts that leaves out records with values that cannot be read."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        self._has_long = False

    def decode(self, text: str) -> Any:
        return json.loads(text, parse_int=self._integer)

    def readable(self, records: Iterable[Placed]) -> Iterator[Placed]:
        """The records without those that hold what cannot be read, whose problems are added."""
        for place, record in records:
            problem = self._unreadable(record)
            if problem is None:
                yield place, record
            else:
                self.problems.append(f"{place}: {problem}")

    def one(self, place: str, text: str) -> Iterator[Placed]:
        """The one record of a text; none, and a problem, where it cannot be read."""
        try:
            yield from self.readable([(place, self.decode(text))])
        except json.JSONDecodeError as error:
            self.problems.append(f"{place}: must be JSON: {error.msg}")
        except RecursionError:
            self.problems.append(f"{place}: {_TOO_DEEP}")

    def _integer(self, text: str) -> int | _LongInteger:
        num_digits = len(text.lstrip("-"))
        if num_digits <= MAX_DIGITS:
            return int(text)
        self._has_long = True
        return _LongInteger(num_digits)

    def _unreadable(self, record: Any) -> str | None:
        if is_nested_too_deeply(record):
            return _TOO_DEEP
        # Few files have one, and looking into every value takes its time.
        if not self._has_long:
            return None
        fields = record if isinstance(record, dict) else {"record": record}
        for name, value in fields.items():
            if (long := _find_long(value)) is not None:
                return f"{name}: must have at most {MAX_DIGITS:,} digits, got {long.num_digits:,}"
        return None


def _is_lines(text: str) -> bool:
    """Return True if the first two lines that are not empty are an object each."""
    lines = _first_lines(text, 2)
    return len(lines) == 2 and all(line[0] == "{" and line[-1] == "}" for line in lines)


def _first_lines(text: str, number: int) -> list[str]:
    found: list[str] = []
    start = 0
    while len(found) < number and start < len(text):
        end = text.find("\n", start)
        end = len(text) if end < 0 else end
        if line := text[start:end].strip():
            found.append(line)
        start = end + 1
    return found


def _is_list(text: str) -> bool:
    """Return True for a list, in a file whose name promises lines."""
    lines = _first_lines(text, 2)
    is_object = len(lines) == 2 and lines[1][0] == "{" and lines[1][-1] == "}"
    return bool(lines) and lines[0][0] == "[" and not is_object


def _parse_lines(path: Path, text: str, reader: _Reader) -> list[Placed]:
    records: list[Placed] = []
    # str.splitlines would also break at U+2028 and others, which may stand inside a JSON string.
    for line_number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            records += reader.one(f"{path}:{line_number}", line)
    return records


def _parse_elements(path: Path, text: str, reader: _Reader) -> Iterator[Placed]:
    """A list's elements one by one, without those that cannot be read.

    Raises:
        BadDataError: The text is no list.
    """
    if not text.lstrip().startswith("["):
        raise BadDataError(f"{path}: {_TOO_DEEP}")
    for index, element in enumerate(_split_list(text), 1):
        yield from reader.one(f"{path}: record {index}", element)


def _split_list(text: str) -> Iterator[str]:
    """The text of each element of a list, found by its brackets alone."""
    depth, start = 0, text.index("[") + 1
    for mark in _MARK.finditer(text):
        if mark[0] in "[{":
            depth += 1
        elif mark[0] in "]}":
            depth -= 1
        if (depth == 1 and mark[0] == ",") or depth == 0:
            yield text[start : mark.start()]
            start = mark.end()
        if depth == 0:
            return
    yield text[start:]


def _find_long(value: Any) -> _LongInteger | None:
    if isinstance(value, _LongInteger):
        return value
    inner = list(value.values()) if isinstance(value, dict) else value
    found = map(_find_long, inner) if isinstance(inner, list) else ()
    return next((long for long in found if long is not None), None)


def _rows(path: Path, value: Any) -> Sequence[Any]:
    """Return the records of a JSON value.

    Raises:
        BadDataError: It has none.
    """
    if isinstance(value, list):
        return value
    if not isinstance(value, dict) or not value:
        got = "an empty object" if value == {} else kind_of(value)
        raise BadDataError(f"{path}:1: must be a JSON list of records, got {got}")
    lists = {key: one for key, one in value.items() if isinstance(one, list)}
    tables = {
        key: one
        for key, one in lists.items()
        if key not in TURN_LISTS and one and all(isinstance(item, dict) for item in one)
    }
    if len(tables) == 1:
        return next(iter(tables.values()))
    if len(tables) > 1:
        problem = f"must hold one list of records, got several: {', '.join(tables)}"
        raise BadDataError(f"{path}:1: {problem}; write each split to a file of its own")
    if lists.keys() >= {"columns", "data"}:
        return _split_table(path, value["columns"], value["data"])
    if all(isinstance(one, dict) for one in value.values()):
        return _indexed(path, value)
    if len(lists) == len(value) and not any(_holds_objects(one) for one in lists.values()):
        return _columns(path, lists)
    if len(lists) == 1 and not next(iter(lists.values())):
        return []
    names = ", ".join(map(str, value))[:80]
    problem = f"must be a JSON list of records, got one object with {names}"
    raise BadDataError(f"{path}:1: {problem}")


def _holds_objects(values: list[Any]) -> bool:
    return any(isinstance(one, dict | list) for one in values)


def _columns(path: Path, columns: dict[str, list[Any]]) -> Sequence[Any]:
    """Rows of a mapping of columns, as ``datasets`` and pandas (``orient="list"``) write it."""
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        got = ", ".join(f"{number} of {name}" for name, number in lengths.items())
        raise BadDataError(f"{path}:1: must have as many values in each column, got {got}")
    rows = zip(*columns.values(), strict=True)
    return [dict(zip(columns, row, strict=True)) for row in rows]


def _split_table(path: Path, columns: Any, data: Any) -> Sequence[Any]:
    """Rows as pandas writes them with ``orient="split"``."""
    if not all(isinstance(row, list) and len(row) == len(columns) for row in data):
        problem = f"must have as many values in each row of `data` as `columns`, {len(columns)}"
        raise BadDataError(f"{path}:1: {problem}")
    return [dict(zip(map(str, columns), row, strict=True)) for row in data]


def _indexed(path: Path, value: dict[str, dict[str, Any]]) -> Sequence[Any]:
    """Rows of a mapping of mappings: pandas' columns by index, or its index by columns."""
    keys = {tuple(inner) for inner in value.values()}
    if all(key.isdecimal() for key in value):
        return list(value.values())
    if len(keys) == 1 and all(key.isdecimal() for key in next(iter(keys))):
        rows = zip(*(column.values() for column in value.values()), strict=True)
        return [dict(zip(value, row, strict=True)) for row in rows]
    problem = "must be a JSON list of records, got an object of objects"
    raise BadDataError(f'{path}:1: {problem}; pandas writes the list with orient="records"')
