"""CSV and TSV text as records with their places."""

from __future__ import annotations

import csv
import io
import re
import sys
from typing import TYPE_CHECKING, Final

from .json_records import BadDataError

if TYPE_CHECKING:
    from pathlib import Path

    from .json_records import Placed

CSV_SUFFIXES: Final = (".csv", ".tsv")

_DELIMITERS: Final = ",;\t"
_OTHER_DELIMITER: Final = re.compile(r"\s*[|^~\x01\x1f]\s*")
_QUOTED: Final = re.compile(r'"[^"]*"')


def parse_csv(path: Path, text: str, problems: list[str]) -> list[Placed]:
    """Return every row as an object of texts, by the names in the first row.

    Columns are separated by commas, semicolons or tabs, whichever the first row has most of outside
    quotes; by tabs in a ``.tsv`` file whose first row has one.

    Args:
        path: Name of the file, for messages.
        text: Content of the file.
        problems: Of rows with other columns than the first, one text each is added.

    Raises:
        BadDataError: It is no CSV, two columns have one name, or something else separates them.
    """
    # The module's own limit is 131,072 characters, fewer than a long context has.
    csv.field_size_limit(sys.maxsize)
    delimiter = _delimiter(path, _first_line(text))
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    records: list[Placed] = []
    names: list[str] | None = None
    line = 1
    try:
        for row in rows:
            start, line = line, rows.line_num + 1
            if not row:
                continue
            place = f"{path}:{start}"
            if names is None:
                names = [name.strip() for name in row]
                _check_names(place, names)
            elif len(row) != len(names):
                problem = f"must have {len(names)} columns, as the first row, got {len(row)}"
                problems.append(f"{place}: {problem}")
            else:
                records.append((place, dict(zip(names, row, strict=True))))
    except csv.Error as error:
        raise BadDataError(f"{path}:{line}: must be CSV: {error}") from error
    return records


def _first_line(text: str) -> str:
    start = re.match(r"\s*", text)
    assert start is not None, "no space is space too"
    end = text.find("\n", start.end())
    return text[: len(text) if end < 0 else end]


def _delimiter(path: Path, first: str) -> str:
    if ".tsv" in path.suffixes[-2:] and "\t" in first:
        return "\t"
    return max(_DELIMITERS, key=_QUOTED.sub("", first).count)


def _check_names(place: str, names: list[str]) -> None:
    for index, name in enumerate(names):
        if name in names[:index]:
            raise BadDataError(f"{place}: must name each column once, got {name!r} twice")
    if len(names) == 1 and len(_OTHER_DELIMITER.split(names[0])) > 1:
        rule = "must separate columns by commas, semicolons or tabs"
        raise BadDataError(f"{place}: {rule}, got one column, {names[0][:60]!r}")
