"""Data files as records, each with its place: JSON, CSV, TSV, parquet and Arrow.

What a file is follows from its first bytes (see ``file_kinds``), whatever it is called; of text the
name tells CSV from JSON. Text may be gzipped. A folder is what ``datasets`` saved, or holds one
JSON object per file, as MATH is published.
"""

from __future__ import annotations

import gzip
import zlib
from typing import TYPE_CHECKING, Final

from .arrow_records import (
    IPC_FILE_MAGIC,
    IPC_STREAM_MAGIC,
    PARQUET_MAGIC,
    TABLE_SUFFIXES,
    is_saved_data_set,
    read_saved_data_set,
    read_table,
)
from .csv_records import CSV_SUFFIXES, parse_csv
from .file_kinds import GZIP_MAGIC, NUM_MAGIC_BYTES, READ, foreign_kind, is_markup, wide_encoding
from .json_records import BadDataError, Placed, parse_object, parse_records

if TYPE_CHECKING:
    from io import BufferedReader
    from pathlib import Path


MAX_TEXT_BYTES: Final = 2**31
"""Largest file, unpacked: five times the largest that is published, and less than a machine has. A
gzipped file of a few MB can unpack to more than all memory."""

_PIECE_BYTES: Final = 2**20


def read_records(path: Path, *, max_bytes: int = MAX_TEXT_BYTES) -> tuple[list[Placed], list[str]]:
    """Return every record in the file's order, and problems of records that cannot be read.

    Args:
        path: A file, the first of several shards, a folder that ``datasets`` saved, or one of JSON
            objects.
        max_bytes: The longest text that is read.

    Raises:
        BadDataError: The file cannot be read, or is of no kind that is read.
    """
    problems: list[str] = []
    if is_saved_data_set(path):
        return read_saved_data_set(path), problems
    if path.is_dir():
        records: list[Placed] = []
        for file in sorted(path.rglob("*.json")):
            try:
                records += parse_object(file, _read_text(file, max_bytes), problems)
            except BadDataError as error:
                problems += error.problems
        return records, problems
    start = _start(path)
    is_table = start.startswith((PARQUET_MAGIC, IPC_FILE_MAGIC, IPC_STREAM_MAGIC))
    if is_table or path.suffix in TABLE_SUFFIXES:
        return read_table(path), problems
    text = _read_text(path, max_bytes)
    if path.name.removesuffix(".gz").endswith(CSV_SUFFIXES):
        return parse_csv(path, text, problems), problems
    return parse_records(path, text, problems), problems


def _start(path: Path) -> bytes:
    """Return the first bytes of a file.

    Raises:
        BadDataError: It cannot be read, or is of a kind that is not.
    """
    try:
        with path.open("rb") as stream:
            start = stream.read(NUM_MAGIC_BYTES)
    except FileNotFoundError:
        # Readers say so, each of the file that they miss.
        return b""
    except OSError as error:
        raise BadDataError(f"{path}: cannot be read: {error.strerror or error}") from error
    _check_kind(path, start)
    return start


def _check_kind(path: Path, start: bytes) -> None:
    kind = foreign_kind(start)
    if kind is None and ".json" in path.name and is_markup(start):
        kind = "XML"
    if kind is not None:
        raise BadDataError(f"{path}: must be {READ}, got {kind}")


def _read_text(path: Path, max_bytes: int) -> str:
    try:
        with path.open("rb") as stream:
            is_packed = path.suffix == ".gz" or stream.read(2) == GZIP_MAGIC
        with gzip.open(path, "rb") if is_packed else path.open("rb") as stream:
            content = _read_up_to(max_bytes + 1, stream)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise BadDataError(f"{path}: must be a whole gzip file: {error}") from error
    except OSError as error:
        raise BadDataError(f"{path}: cannot be read: {error.strerror or error}") from error
    if len(content) > max_bytes:
        problem = f"must be at most {max_bytes:,} bytes of text, unpacked, got more"
        raise BadDataError(f"{path}: {problem}; shards of parquet may be longer")
    start = bytes(content[:NUM_MAGIC_BYTES])
    if is_packed:
        _check_unpacked(path, start)
    if encoding := wide_encoding(start):
        raise BadDataError(f"{path}: must be UTF-8 text, got {encoding}; save it as UTF-8")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        place = f"{path}:{content.count(10, 0, error.start) + 1}"
        got = f"the byte 0x{content[error.start]:02x}: {error.reason}"
        raise BadDataError(f"{place}: must be UTF-8 text, got {got}") from error


def _check_unpacked(path: Path, start: bytes) -> None:
    """Refuse what is gzipped and no text.

    Raises:
        BadDataError: It is a table, which packs its columns itself, or of no kind that is read.
    """
    _check_kind(path, start)
    kind = "a tar archive" if start[257:262] == b"ustar" else None
    if start.startswith((PARQUET_MAGIC, IPC_FILE_MAGIC, IPC_STREAM_MAGIC)):
        kind = "parquet or Arrow, which is packed inside"
    if kind is not None:
        raise BadDataError(f"{path}: must be text where it is gzipped, got {kind}; unpack it")


def _read_up_to(num_bytes: int, stream: BufferedReader | gzip.GzipFile) -> bytearray:
    """Read a stream in pieces: asked for all at once, it would make room for all first."""
    content = bytearray()
    while piece := stream.read(min(_PIECE_BYTES, num_bytes - len(content))):
        content += piece
    return content
