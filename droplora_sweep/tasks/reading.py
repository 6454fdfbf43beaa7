"""From the records of a data file to examples, or to what is wrong with them."""

from __future__ import annotations

import json
from dataclasses import dataclass
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
    """What a file holds of one split.

    Attributes:
        examples: In the file's order.
        problems: Of the records that were left out, one text each.
        num_cut: Examples that are the beginning of a longer record alone.
    """

    examples: tuple[Example, ...]
    problems: tuple[str, ...] = ()
    num_cut: int = 0


def read_examples(path: Path, entry: BenchmarkEntry) -> tuple[Example, ...]:
    """Every record of the file, in its order.

    Raises:
        BadDataError: See ``read_file``.
    """
    return read_file(path, entry).examples


def read_file(
    path: Path, entry: BenchmarkEntry, split: str | None = None, *, skip_bad: bool = False
) -> FileContent:
    """The file's records as examples, in its order.

    A record needs the fields of its format (see ``formats``); other fields are ignored.

    Args:
        path: What ``read_records`` reads.
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
    reader = _Reader(_recognise(records, entry), entry, split)
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
    return FileContent(tuple(examples), tuple(problems), reader.num_cut)


def _recognise(records: list[tuple[str, Any]], entry: BenchmarkEntry) -> RecordFormat:
    """The first of the entry's formats that the first record has all fields of, else the first."""
    formats = [_layout(FORMATS[name], entry) for name in formats_with(entry.fields, entry.formats)]
    first = next((record for _, record in records if isinstance(record, dict)), {})
    return next((one for one in formats if one.fields.keys() <= first.keys()), formats[0])


def formats_with(fields: Mapping[RecordField, str], formats: Sequence[Format]) -> list[Format]:
    """The formats in which all of these fields can have names of their own; there may be none."""
    return [
        name
        for name in formats
        if name == "llm_adapters" or fields.keys() <= FORMATS[name].roles.keys()
    ]


def _layout(layout: RecordFormat, entry: BenchmarkEntry) -> RecordFormat:
    """The layout with the entry's names, and without what its use here does not need."""
    if layout is not FORMATS["llm_adapters"]:
        return layout.renamed(entry.fields) if entry.fields else layout
    if entry.fields:
        return _named(entry)
    # What is only trained on is not scored.
    return layout.without("answer") if entry.scoring is None else layout


def _named(entry: BenchmarkEntry) -> RecordFormat:
    """Records whose fields have names of their own; only what is named needs to be there.

    What is not named is read under its usual name, where it is text; a response is otherwise the
    answer.
    """
    names = entry.fields

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
        return FORMATS["llm_adapters"].read({**defaults, **given})

    unneeded = tuple(
        name
        for field, name in names.items()
        if field == "input" or (field == "answer" and not entry.needs_answers)
    )
    return RecordFormat(
        {name: str for field, name in names.items() if field != "id"},
        read,
        may_be_empty=unneeded,
        may_be_null=unneeded,
        id_field=names.get("id"),
        roles=names,
    )


class _Reader:
    """Reads the records of one file; knows the ids it has met."""

    def __init__(self, layout: RecordFormat, entry: BenchmarkEntry, split: str | None) -> None:
        self.num_cut = 0
        self._layout = layout
        self._scorer = entry.scorer if entry.needs_answers else None
        self._split = split
        self._ids: set[str] = set()

    def read(self, record: Any) -> tuple[list[str], Example | None]:
        """Problems of a record, and its example unless there are any or it is left out."""
        layout = self._layout
        if not isinstance(record, dict):
            return [
                f"must be an object with {', '.join(layout.fields)}, got {kind_of(record)}"
            ], None
        problems = self._problems(record)
        if problems:
            return problems, None
        given = {name: value for name, value in record.items() if value is not None}
        given |= dict.fromkeys((name for name in layout.may_be_null if name not in given), "")
        if self._split and layout.split_of and layout.split_of(given) != self._split:
            return [], None
        try:
            example = layout.read(given)
        except BadRecordError as error:
            return [str(error)], None
        if example is None:
            return [], None
        problems = [*text_problems(example, layout.roles)]
        problems += gold_problems(example.answer, self._scorer)
        if not problems and layout.is_cut is not None:
            self.num_cut += layout.is_cut(given)
        return problems, example

    def _problems(self, record: dict[str, Any]) -> list[str]:
        layout = self._layout
        problems = []
        for name, kind in layout.fields.items():
            if name not in record:
                fields = ", ".join(layout.fields)
                problems.append(f"{name}: is missing; every record needs {fields}")
            elif record[name] is not None or name not in layout.may_be_null:
                problems += self._field_problems(name, record[name], kind)
        for name, kind in layout.optional.items():
            if record.get(name) is not None:
                problems += self._field_problems(name, record[name], kind)
        return [*problems, *self._id_problems(record)]

    def _field_problems(self, name: str, value: Any, kind: type[Any]) -> list[str]:
        if not isinstance(value, kind) or isinstance(value, bool):
            # Parquet also holds what JSON has no word for.
            shown = json.dumps(value, default=str)[:60]
            return [f"{name}: must be {_TYPES[kind]}, got {shown}"]
        if kind is str and not value.strip() and not self._may_be_empty(name):
            return [f"{name}: must not be empty"]
        return []

    def _id_problems(self, record: dict[str, Any]) -> list[str]:
        name = self._layout.id_field
        value = None if name is None else record.get(name)
        if value is None or value == "":
            return []
        if not isinstance(value, str | int | float) or isinstance(value, bool):
            return [f"{name}: must be text or a number, got {json.dumps(value, default=str)[:60]}"]
        identity = str(value)
        if identity in self._ids:
            return [f"{name}: must differ from the others, got {identity[:60]!r} twice"]
        self._ids.add(identity)
        return []

    def _may_be_empty(self, name: str) -> bool:
        """Nothing is trained on a test example's ``output``; six of GSM8K's have none."""
        return (
            name in self._layout.may_be_empty
            or name in self._layout.optional
            or (name == "output" and self._split == "test")
        )


def text_problems(example: Example, roles: Mapping[RecordField, str]) -> Iterator[str]:
    """What no file could hold: JSON can escape half of an emoji, which is no text in UTF-8.

    Args:
        example: What was read.
        roles: Name in the file by field of an example, where it has another.
    """
    names = {str(field): name for field, name in roles.items()}
    for field in ("instruction", "input", "output", "answer", "id", "category", "turns"):
        value = getattr(example, field)
        text = "".join(value) if isinstance(value, tuple) else value
        if text is None or text.isascii():
            continue
        try:
            text.encode()
        except UnicodeEncodeError as error:
            got = f"half a character, \\u{ord(text[error.start]):04x}"
            yield f"{names.get(field, field)}: must be text that UTF-8 can hold, got {got}"
