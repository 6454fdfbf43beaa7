"""Tables as records: CSV text, and parquet files."""

from __future__ import annotations

import csv
import io
import re
import sys
from typing import TYPE_CHECKING, Final

from .placed import BadDataError, Placed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PARQUET_SUFFIX: Final = ".parquet"
CSV_SUFFIXES: Final = (".csv", ".tsv")

_SHARD = re.compile(r"(?P<start>.+)-00000-of-(?P<count>\d{5})\.parquet")
_DELIMITERS: Final = ",;\t"


def parse_csv(path: Path, text: str, problems: list[str]) -> list[Placed]:
    """Every row as an object of texts, by the names in the first row.

    Columns are separated by commas, semicolons or tabs, whichever the first row has most of.

    Args:
        path: Names the file.
        text: What it holds.
        problems: Of rows with other columns than the first, one text each is added.

    Raises:
        BadDataError: It is no CSV, or two columns have one name.
    """
    first = text.split("\n", 1)[0]
    delimiter = max(_DELIMITERS, key=first.count)
    # The module's own limit is 131,072 characters, fewer than a long context has.
    csv.field_size_limit(sys.maxsize)
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
                _require_distinct(place, names)
            elif len(row) != len(names):
                problem = f"must have {len(names)} columns, as the first row, got {len(row)}"
                problems.append(f"{place}: {problem}")
            else:
                records.append((place, dict(zip(names, row, strict=True))))
    except csv.Error as error:
        raise BadDataError([f"{path}:{line}: must be CSV: {error}"]) from error
    return records


def _require_distinct(place: str, names: list[str]) -> None:
    for index, name in enumerate(names):
        if name in names[:index]:
            raise BadDataError([f"{place}: must name each column once, got {name!r} twice"])


def read_parquet(path: Path) -> list[Placed]:
    """Every row, of all files where ``path`` is the first of several shards.

    Raises:
        BadDataError: A file is missing, or is no parquet.
    """
    return [row for shard in _shards(path) for row in _rows(shard)]


def _shards(path: Path) -> list[Path]:
    """All files of the split whose first one this is."""
    match = _SHARD.fullmatch(path.name)
    if match is None:
        return [path]
    count = int(match["count"])
    return [
        path.with_name(f"{match['start']}-{index:05}-of-{count:05}{PARQUET_SUFFIX}")
        for index in range(count)
    ]


def _rows(path: Path) -> Iterator[Placed]:
    # Importing pyarrow takes a moment, which JSON files should not cost.
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        rows = pq.read_table(path, partitioning=None).to_pylist()
    except UnicodeDecodeError as error:
        raise BadDataError([f"{path}: must be UTF-8 text, got {error.reason}"]) from error
    except FileNotFoundError as error:
        raise BadDataError([f"{path}: cannot be read: it is not there"]) from error
    # Dates that Python has none of are the last two.
    except (pa.ArrowException, OSError, MemoryError, ValueError, OverflowError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise BadDataError([f"{path}: must be a parquet file: {reason}"]) from error
    for index, row in enumerate(rows, 1):
        yield f"{path}: row {index}", row
