"""Data files as records, each with its place: what a message about a record calls it by.

A file is a JSON list, one JSON object per line (both gzipped or not), or parquet; shards of one
parquet split, ``train-00000-of-00002.parquet`` and so on, are named by the first. A folder holds
one JSON object per file, as MATH is published.
"""

from __future__ import annotations

import gzip
import json
import re
import zlib
from typing import TYPE_CHECKING, Any, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Placed: TypeAlias = "tuple[str, Any]"
"""A record's place and the record."""

PARQUET_SUFFIX: Final = ".parquet"

_SHARD = re.compile(r"(?P<start>.+)-00000-of-(?P<count>\d{5})\.parquet")


class BadDataError(ValueError):
    """A data file breaks a rule; carries one text per problem, each with the file and place."""

    def __init__(self, problems: list[str]) -> None:
        assert problems, "a BadDataError needs a problem"
        self.problems = problems
        super().__init__("\n".join(problems))


def read_records(path: Path) -> tuple[list[Placed], list[str]]:
    """Every record in the file's order, and problems of lines that are no JSON.

    Args:
        path: A ``.json``, ``.jsonl``, gzipped or ``.parquet`` file, or a folder of JSON objects.

    Raises:
        BadDataError: The file cannot be read, or is not what its name says.
    """
    problems: list[str] = []
    if path.is_dir():
        records = [_parse_object(file) for file in sorted(path.rglob("*.json"))]
    elif path.suffix == PARQUET_SUFFIX:
        records = [record for shard in _shards(path) for record in _rows(shard)]
    elif path.name.removesuffix(".gz").endswith(".jsonl"):
        records = _parse_lines(path, _read_text(path), problems)
    else:
        records = _parse_list(path, _read_text(path))
    return records, problems


def _read_text(path: Path) -> str:
    try:
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(content)
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadDataError([f"{path}: must be UTF-8 text, got {error.reason}"]) from error
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise BadDataError([f"{path}: must be a whole gzip file: {error}"]) from error
    except OSError as error:
        raise BadDataError([f"{path}: cannot be read: {error.strerror}"]) from error


def _parse(path: Path, text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise BadDataError([f"{path}:{error.lineno}: must be JSON: {error.msg}"]) from error


def _parse_object(path: Path) -> Placed:
    return str(path), _parse(path, _read_text(path))


def _parse_list(path: Path, text: str) -> list[Placed]:
    records = _parse(path, text)
    if not isinstance(records, list):
        raise BadDataError([f"{path}:1: must be a JSON list, got {type(records).__name__}"])
    return [(f"{path}: record {index}", record) for index, record in enumerate(records, 1)]


def _parse_lines(path: Path, text: str, problems: list[str]) -> list[Placed]:
    records = []
    # str.splitlines would also break at U+2028 and others, which may stand inside a JSON string.
    for line_number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            records.append((f"{path}:{line_number}", json.loads(line)))
        except json.JSONDecodeError as error:
            problems.append(f"{path}:{line_number}: must be JSON: {error.msg}")
    return records


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
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise BadDataError([f"{path}: must be a parquet file: {reason}"]) from error
    for index, row in enumerate(rows, 1):
        yield f"{path}: row {index}", row
