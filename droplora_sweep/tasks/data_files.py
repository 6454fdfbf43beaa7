"""Data files as records, each with its place: CSV, JSON and parquet.

A file is JSON (see ``json_records``), CSV, both gzipped or not, or parquet; shards of one parquet
split, ``train-00000-of-00002.parquet`` and so on, are named by the first. A folder holds one JSON
object per file, as MATH is published.
"""

from __future__ import annotations

import csv
import gzip
import io
import re
import sys
import zlib
from typing import TYPE_CHECKING, Final

from .json_records import BadDataError, Placed, parse_object, parse_records

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import BufferedReader
    from pathlib import Path


PARQUET_SUFFIX: Final = ".parquet"
CSV_SUFFIXES: Final = (".csv", ".tsv")

_SHARD = re.compile(r"(?P<start>.+)-00000-of-(?P<count>\d{5})\.parquet")
_DELIMITERS: Final = ",;\t"


def parse_csv(path: Path, text: str, problems: list[str]) -> list[Placed]:
    """Return every row as an object of texts, by the names in the first row.

    Columns are separated by commas, semicolons or tabs, whichever the first row has most of.

    Args:
        path: Name of the file, for messages.
        text: Content of the file.
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
        raise BadDataError(f"{path}:{line}: must be CSV: {error}") from error
    return records


def _require_distinct(place: str, names: list[str]) -> None:
    for index, name in enumerate(names):
        if name in names[:index]:
            raise BadDataError(f"{place}: must name each column once, got {name!r} twice")


def read_parquet(path: Path) -> list[Placed]:
    """Return every row, of all files where ``path`` is the first of several shards.

    Raises:
        BadDataError: A file is missing, or is no parquet.
    """
    return [row for shard in _shards(path) for row in _rows(shard)]


def _shards(path: Path) -> list[Path]:
    """Return all shards of the split whose first one this is."""
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
        raise BadDataError(f"{path}: must be UTF-8 text, got {error.reason}") from error
    except FileNotFoundError as error:
        raise BadDataError(f"{path}: cannot be read: it is not there") from error
    # Dates that Python has none of are the last two.
    except (pa.ArrowException, OSError, MemoryError, ValueError, OverflowError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise BadDataError(f"{path}: must be a parquet file: {reason}") from error
    for index, row in enumerate(rows, 1):
        yield f"{path}: row {index}", row


MAX_TEXT_BYTES: Final = 2**31
"""Largest file, unpacked: five times the largest that is published, and less than a machine has. A
gzipped file of a few MB can unpack to more than all memory."""

_PIECE_BYTES: Final = 2**20


def read_records(path: Path, *, max_bytes: int = MAX_TEXT_BYTES) -> tuple[list[Placed], list[str]]:
    """Return every record in the file's order, and problems of records that cannot be read.

    Args:
        path: A file, or a folder of JSON objects.
        max_bytes: The longest text that is read.

    Raises:
        BadDataError: The file cannot be read, or is not what its name says.
    """
    problems: list[str] = []
    if path.is_dir():
        records: list[Placed] = []
        for file in sorted(path.rglob("*.json")):
            try:
                records += parse_object(file, _read_text(file, max_bytes), problems)
            except BadDataError as error:
                problems += error.problems
        return records, problems
    if path.suffix == PARQUET_SUFFIX:
        return read_parquet(path), problems
    text = _read_text(path, max_bytes)
    if path.name.removesuffix(".gz").endswith(CSV_SUFFIXES):
        return parse_csv(path, text, problems), problems
    return parse_records(path, text, problems), problems


def _read_text(path: Path, max_bytes: int) -> str:
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as stream:
            content = _read_up_to(max_bytes + 1, stream)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise BadDataError(f"{path}: must be a whole gzip file: {error}") from error
    except OSError as error:
        raise BadDataError(f"{path}: cannot be read: {error.strerror or error}") from error
    if len(content) > max_bytes:
        problem = f"must be at most {max_bytes:,} bytes of text, unpacked, got more"
        raise BadDataError(f"{path}: {problem}; shards of parquet may be longer")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadDataError(f"{path}: must be UTF-8 text, got {error.reason}") from error


def _read_up_to(num_bytes: int, stream: BufferedReader | gzip.GzipFile) -> bytearray:
    """Read a stream in pieces: asked for all at once, it would make room for all first."""
    content = bytearray()
    while piece := stream.read(min(_PIECE_BYTES, num_bytes - len(content))):
        content += piece
    return content
