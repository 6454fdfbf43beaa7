"""From the records of a data file to examples, or to what is wrong with them."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from .answers import gold_problems
from .data_files import read_records
from .formats import FORMATS, BadRecordError, RecordFormat
from .json_records import BadDataError, kind_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from droplora_sweep.spec import Format, RecordField

    from .registry import BenchmarkEntry
    from .task import Example

MAX_PROBLEMS_PER_FILE: Final = 5
"""A file in a wrong format has the same problem in each record; the rest are only counted."""

_TYPES: Final = {str: "text", int: "an integer", list: "a list"}


@dataclass(frozen=True)
class FileContent:
    """Content of a file, or of one split of it.

    Attributes:
        examples: In the file's order.
        problems: Of the records that were left out, one text each.
        num_cut: Examples that are the beginning of a longer record alone.
        title: Name of the records' layout, where they are read as conversations; else "".
    """

    examples: tuple[Example, ...]
    problems: tuple[str, ...] = ()
    num_cut: int = 0
    title: str = ""


def read_examples(path: Path, entry: BenchmarkEntry) -> tuple[Example, ...]:
    """Return every record of the file, in its order.

    Raises:
        BadDataError: See ``read_file``.
    """
    return read_file(path, entry).examples


def read_file(
    path: Path, entry: BenchmarkEntry, split: str | None = None, *, skip_bad: bool = False
) -> FileContent:
    """Return the file's records as examples, in its order.

    A record needs the fields of its format (see ``formats``); other fields are ignored.

    Args:
        path: File or folder (see ``read_records``).
        entry: Gives formats, renamed fields, and what an answer must be.
        split: Of a file whose format has several splits, this one alone.
        skip_bad: Leave bad records out, unless none is left.

    Raises:
        BadDataError: The file cannot be read, is not what its name says, is empty, or has records
            that lack a field, repeat an id, or have an answer that no response could lead to.
    """
    records, problems = read_records(path)
    if not records and not problems:
        raise BadDataError(f"{path}: must hold at least one record, got none")
    names = _recognise(records, entry)
    reader = _Reader(names, entry, split)
    examples = []
    # A good record may belong to another split.
    has_good = False
    for place, record in records:
        found, example = reader.read(record)
        problems += [f"{place}: {problem}" for problem in found]
        has_good |= not found
        if example is not None and not found:
            examples.append(example)
    if problems and not (skip_bad and has_good):
        num_more = len(problems) - MAX_PROBLEMS_PER_FILE
        more = [f"{path}: {num_more} more such problems"] if num_more > 0 else []
        raise BadDataError(*problems[:MAX_PROBLEMS_PER_FILE], *more)
    title = names.layout.title if entry.is_chat else ""
    return FileContent(tuple(examples), tuple(problems), reader.num_cut, title)


def _recognise(records: list[tuple[str, Any]], entry: BenchmarkEntry) -> _Names:
    """Return the entry's first format that the first record has all fields of, else the first."""
    formats = [
        _Names(_layout(FORMATS[name], entry), entry)
        for name in formats_with(entry.fields, entry.formats)
    ]
    first = next((record for _, record in records if isinstance(record, dict)), {})
    return next(
        (one for one in formats if one.layout.fields.keys() <= one.own(first).keys()), formats[0]
    )


def formats_with(fields: Mapping[RecordField, str], formats: Sequence[Format]) -> list[Format]:
    """Return the formats in which all of these fields can have names of their own."""
    return [
        name
        for name in formats
        if FORMATS[name] is FORMATS["llm_adapters"] or fields.keys() <= FORMATS[name].roles.keys()
    ]


def _layout(layout: RecordFormat, entry: BenchmarkEntry) -> RecordFormat:
    """Return the layout without what its use here does not need, and with what a chat needs."""
    if layout is FORMATS["llm_adapters"] and entry.fields:
        return _named(entry)
    if layout is FORMATS["llm_adapters"] and entry.scoring is None:
        # What is only trained on is not scored.
        needed = {name: kind for name, kind in layout.fields.items() if name != "answer"}
        layout = replace(layout, fields=needed, optional={**layout.optional, "answer": str})
    if not entry.is_chat or layout.read_whole is None:
        return layout
    optional = {**layout.optional, **layout.chat_fields}
    return replace(layout, read=layout.read_whole, optional=optional, is_cut=None)


_ABSENT: Final = object()


def value_at(record: dict[str, Any], name: str) -> Any:
    """Return a record's value by its key, or by keys and numbers of elements with dots between.

    A key that holds dots itself comes first. Returns ``_ABSENT`` where there is no such value.

    >>> value_at({"answers": {"text": ["a", "b"]}}, "answers.text.0")
    'a'
    """
    if name in record:
        return record[name]
    value: Any = record
    for key in name.split("."):
        if isinstance(value, dict) and key in value:
            value = value[key]
        elif isinstance(value, list) and key.isdecimal() and int(key) < len(value):
            value = value[int(key)]
        else:
            return _ABSENT
    return value


class _Names:
    """Names that the files of a benchmark have for a layout's fields."""

    def __init__(self, layout: RecordFormat, entry: BenchmarkEntry) -> None:
        self.layout = layout
        self._in_file = {layout.roles[role]: name for role, name in entry.fields.items()}

    def in_file(self, name: str) -> str:
        """Return the name in the file of a field of the layout."""
        return self._in_file.get(name, name)

    def own(self, record: dict[str, Any]) -> dict[str, Any]:
        """Return the record under the layout's own names."""
        found = {own: value_at(record, name) for own, name in self._in_file.items()}
        given = {own: value for own, value in found.items() if value is not _ABSENT}
        return {name: one for name, one in record.items() if name not in self._in_file} | given


def _named(entry: BenchmarkEntry) -> RecordFormat:
    """Records whose fields have names of their own; only what is named needs to be there.

    What is not named is read under its usual name, where it is text; a response is otherwise the
    answer.
    """
    names, alpaca = entry.fields, FORMATS["llm_adapters"]
    read_all = alpaca.read_whole if entry.is_chat else alpaca.read
    assert read_all is not None, "Alpaca records are read whole"
    of_chats = alpaca.chat_fields if entry.is_chat else {}

    def read(record: dict[str, Any]) -> Example | None:
        given: dict[str, Any] = {
            field: record[name] for field, name in names.items() if name in record
        }
        usual = {
            field: record[field]
            for field in ("input", "output", "answer")
            if isinstance(record.get(field), str)
        }
        answer = given.get("answer", usual.get("answer", ""))
        defaults = {"input": "", "answer": answer, "output": answer, **usual}
        beside = {field: record[field] for field in of_chats if field in record}
        return read_all({**beside, **defaults, **given})

    unneeded = tuple(
        name
        for field, name in names.items()
        if field == "input" or (field == "answer" and not entry.needs_answers)
    )
    return RecordFormat(
        {name: str for field, name in names.items() if field != "id"},
        read,
        optional=of_chats,
        may_be_empty=unneeded,
        may_be_null=unneeded,
        id_field=names.get("id"),
        roles=names,
        title=alpaca.title,
    )


class _Reader:
    """Reader of the records of one file; knows the ids it has met."""

    def __init__(self, names: _Names, entry: BenchmarkEntry, split: str | None) -> None:
        self.num_cut = 0
        self._names = names
        self._layout = names.layout
        self._scorer = entry.scorer if entry.needs_answers else None
        self._split = split
        self._ids: set[str] = set()

    def read(self, record: Any) -> tuple[list[str], Example | None]:
        """Return a record's problems, and its example unless there are any or it is left out."""
        layout, in_file = self._layout, self._names.in_file
        if not isinstance(record, dict):
            return [f"must be an object with {self._needed()}, got {kind_of(record)}"], None
        record = self._names.own(record)
        problems = [f"{in_file(name)}: {problem}" for name, problem in self._problems(record)]
        if problems:
            return problems, None
        given = {name: value for name, value in record.items() if value is not None}
        given |= dict.fromkeys((name for name in layout.may_be_null if name not in given), "")
        if self._split and layout.split_of and layout.split_of(given) != self._split:
            return [], None
        try:
            example = layout.read(given)
        except BadRecordError as error:
            name, colon, problem = str(error).partition(":")
            return [f"{in_file(name)}{colon}{problem}"], None
        if example is None:
            return [], None
        if self._scorer is not None and layout.is_conversation and not example.answer:
            example = replace(example, answer=example.output)
        roles = {role: in_file(name) for role, name in layout.roles.items()}
        problems = [*text_problems(example, roles)]
        problems += gold_problems(example.answer, self._scorer)
        if not problems and layout.is_cut is not None:
            self.num_cut += layout.is_cut(given)
        return problems, example

    def _needed(self) -> str:
        return ", ".join(map(self._names.in_file, self._layout.fields))

    def _problems(self, record: dict[str, Any]) -> Iterator[tuple[str, str]]:
        """Yield a field's own name, and its problem."""
        layout = self._layout
        for name, kind in (*layout.fields.items(), *layout.optional.items()):
            value = record.get(name)
            if name in layout.fields and name not in record:
                yield name, f"is missing; every record needs {self._needed()}"
            elif value is None and (name in layout.optional or name in layout.may_be_null):
                continue
            elif not isinstance(value, kind) or isinstance(value, bool):
                # Parquet also holds what JSON has no word for.
                shown = json.dumps(value, default=str)[:60]
                yield name, f"must be {_TYPES[kind]}, got {shown}"
            elif kind is str and not value.strip() and not self._may_be_empty(name):
                yield name, "must not be empty"
        if layout.id_field is None or record.get(layout.id_field) in (None, ""):
            return
        name, value = layout.id_field, record[layout.id_field]
        if not isinstance(value, str | int | float) or isinstance(value, bool):
            yield name, f"must be text or a number, got {json.dumps(value, default=str)[:60]}"
        elif str(value) in self._ids:
            yield name, f"must differ from the others, got {str(value)[:60]!r} twice"
        else:
            self._ids.add(str(value))

    def _may_be_empty(self, name: str) -> bool:
        """Nothing is trained on a test example's ``output``; six of GSM8K's have none."""
        return (
            name in self._layout.may_be_empty
            or name in self._layout.optional
            or (name == "output" and self._split == "test")
        )


def text_problems(example: Example, roles: Mapping[RecordField, str]) -> Iterator[str]:
    """Yield problems of text that no file can hold: JSON can escape half of an emoji.

    Args:
        example: The example that was read.
        roles: Name in the file by field of an example, where it has another.
    """
    names = {str(field): name for field, name in roles.items()}
    texts = {
        **{name: getattr(example, name) for name in ("instruction", "input", "output", "answer")},
        **{name: getattr(example, name) for name in ("id", "category", "system")},
        "turns": "".join(example.turns),
        "history": "".join(text for exchange in example.history for text in exchange),
    }
    for field, text in texts.items():
        if text is None or text.isascii():
            continue
        try:
            text.encode()
        except UnicodeEncodeError as error:
            got = f"half a character, \\u{ord(text[error.start]):04x}"
            yield f"{names.get(field, field)}: must be text that UTF-8 can hold, got {got}"
