"""Data files as records, each with its place: what a message about a record calls it by.

A file is JSON (see ``json_records``), CSV, both gzipped or not, or parquet; shards of one parquet
split, ``train-00000-of-00002.parquet`` and so on, are named by the first. A folder holds one JSON
object per file, as MATH is published.
"""

from __future__ import annotations

import gzip
import zlib
from typing import TYPE_CHECKING, Final

from .json_records import parse_object, parse_records
from .placed import BadDataError, Placed
from .table_records import CSV_SUFFIXES, PARQUET_SUFFIX, parse_csv, read_parquet

if TYPE_CHECKING:
    from io import BufferedReader
    from pathlib import Path

MAX_TEXT_BYTES: Final = 2**31
"""Of one file, unpacked: five times the largest that is published, and less than a machine has. A
gzipped file of a few MB can unpack to more than all memory."""

_PIECE_BYTES: Final = 2**20


def read_records(path: Path, *, max_bytes: int = MAX_TEXT_BYTES) -> tuple[list[Placed], list[str]]:
    """Every record in the file's order, and problems of records that cannot be read.

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
        raise BadDataError([f"{path}: must be a whole gzip file: {error}"]) from error
    except OSError as error:
        raise BadDataError([f"{path}: cannot be read: {error.strerror or error}"]) from error
    if len(content) > max_bytes:
        problem = f"must be at most {max_bytes:,} bytes of text, unpacked, got more"
        raise BadDataError([f"{path}: {problem}; shards of parquet may be longer"])
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadDataError([f"{path}: must be UTF-8 text, got {error.reason}"]) from error


def _read_up_to(num_bytes: int, stream: BufferedReader | gzip.GzipFile) -> bytearray:
    """What a stream holds, in pieces: asked for all at once, it would make room for all first."""
    content = bytearray()
    while piece := stream.read(min(_PIECE_BYTES, num_bytes - len(content))):
        content += piece
    return content
