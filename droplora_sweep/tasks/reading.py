"""From the records of a data file to examples, or to what is wrong with them."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from .data_files import BadDataError, read_records
from .formats import FORMATS, BadRecordError, RecordFormat

if TYPE_CHECKING:
    from pathlib import Path

    from .records import Example
    from .registry import BenchmarkEntry

MAX_PROBLEMS_PER_FILE: Final = 5
"""A file in a wrong format has the same problem in each record; the rest are only counted."""

_TYPES: Final = {str: "text", int: "an integer", list: "a list"}


@dataclass(frozen=True)
class FileContent:
    """What a file holds of one split.

    Attributes:
        examples: In the file's order.
        problems: Of the records that were left out, one text each.
    """

    examples: tuple[Example, ...]
    problems: tuple[str, ...] = ()


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
        raise BadDataError([f"{path}: must hold at least one record, got none"])
    reader = _Reader(_recognise(records, entry), entry, split)
    examples = []
    for place, record in records:
        found, example = reader.read(record)
        problems += [f"{place}: {problem}" for problem in found]
        if example is not None and not found:
            examples.append(example)
    if problems and (not skip_bad or not examples):
        num_more = len(problems) - MAX_PROBLEMS_PER_FILE
        more = [f"{path}: {num_more} more such problems"] if num_more > 0 else []
        raise BadDataError(problems[:MAX_PROBLEMS_PER_FILE] + more)
    return FileContent(tuple(examples), tuple(problems))


def _recognise(records: list[tuple[str, Any]], entry: BenchmarkEntry) -> RecordFormat:
    """The first of the entry's formats that the first record has all fields of, else the first."""
    formats = [FORMATS[name] for name in entry.formats]
    if entry.fields and formats[0] is FORMATS["llm_adapters"]:
        return _renamed(entry)
    first = next((record for _, record in records if isinstance(record, dict)), {})
    return next((one for one in formats if one.fields.keys() <= first.keys()), formats[0])


def _renamed(entry: BenchmarkEntry) -> RecordFormat:
    """Records whose fields have names of their own; only what is named needs to be there.

    What is not named is read under its usual name, where it is text; a response is otherwise the
    answer.
    """
    names = entry.fields

    def read(record: dict[str, Any]) -> Example | None:
        given: dict[str, Any] = {field: record[name] for field, name in names.items()}
        usual = {
            field: record[field]
            for field in ("input", "output", "answer")
            if isinstance(record.get(field), str)
        }
        answer = given.get("answer", usual.get("answer", ""))
        defaults = {"input": "", "answer": answer, "output": answer, **usual}
        return FORMATS["llm_adapters"].read({**defaults, **given})

    texts = {name: str for field, name in names.items() if field != "id"}
    allowed = ["input", *(["answer"] if entry.scoring in (None, "judge") else [])]
    return RecordFormat(
        texts,
        read,
        may_be_empty=tuple(names[field] for field in allowed if field in names),
        id_field=names.get("id"),
    )


class _Reader:
    """Reads the records of one file; knows the ids it has met."""

    def __init__(self, layout: RecordFormat, entry: BenchmarkEntry, split: str | None) -> None:
        self._layout = layout
        self._entry = entry
        self._split = split
        self._ids: set[str] = set()

    def read(self, record: Any) -> tuple[list[str], Example | None]:
        """Problems of a record, and its example unless there are any or it is left out."""
        problems = self._problems(record)
        if problems:
            return problems, None
        layout = self._layout
        if self._split and layout.split_of and layout.split_of(record) != self._split:
            return [], None
        try:
            example = layout.read(record)
        except BadRecordError as error:
            return [str(error)], None
        if example is None:
            return [], None
        return answer_problems(example.answer, self._entry), example

    def _problems(self, record: Any) -> list[str]:
        fields = ", ".join(self._layout.fields)
        if not isinstance(record, dict):
            return [f"must be an object with {fields}, got {type(record).__name__}"]
        problems = []
        for name, kind in self._layout.fields.items():
            if name not in record:
                problems.append(f"{name}: is missing; every record needs {fields}")
            elif not isinstance(record[name], kind) or isinstance(record[name], bool):
                # Parquet also holds what JSON has no word for.
                shown = json.dumps(record[name], default=str)[:60]
                problems.append(f"{name}: must be {_TYPES[kind]}, got {shown}")
            elif kind is str and not record[name].strip() and not self._may_be_empty(name):
                problems.append(f"{name}: must not be empty")
        id_field = self._layout.id_field
        if id_field is not None and record.get(id_field) is not None:
            identity = str(record[id_field])
            if identity in self._ids:
                problems.append(f"{id_field}: must differ from the others, got {identity!r} twice")
            self._ids.add(identity)
        return problems

    def _may_be_empty(self, name: str) -> bool:
        """Nothing is trained on a test example's ``output``; six of GSM8K's have none."""
        return name in self._layout.may_be_empty or (name == "output" and self._split == "test")


def answer_problems(answer: str, entry: BenchmarkEntry) -> list[str]:
    """Why no response could lead to this answer."""
    if entry.scoring == "choice" and answer not in entry.options:
        return [f"answer: must be one of {', '.join(entry.options)}, got {answer!r}"]
    if entry.scoring == "number" and not _is_number(answer):
        return [f"answer: must be a number, got {answer!r}"]
    if entry.scoring not in (None, "judge") and not answer.strip():
        return [f"answer: must not be empty with scoring {entry.scoring}"]
    if entry.scoring == "code":
        try:
            compile(answer, "tests", "exec")
        except (SyntaxError, ValueError) as error:
            return [f"answer: must be Python tests, got {answer[:40]!r}: {error.args[0]}"]
    return []


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
