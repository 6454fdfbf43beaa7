"""Kinds of data files: those that are read, and those that people have and that are refused.

A kind is known by a file's first bytes. Of text, the name tells CSV from JSON.
"""

from __future__ import annotations

import re
from typing import Final

READ: Final = "JSON, JSON lines, CSV, TSV, parquet or Arrow"
"""The kinds that are read, for messages."""

GZIP_MAGIC: Final = b"\x1f\x8b"
NUM_MAGIC_BYTES: Final = 512

_FOREIGN: Final = (
    (b"PK\x03\x04", "a zip archive, as .xlsx is"),
    (b"\xd0\xcf\x11\xe0", "a file of an old Excel or Word"),
    (b"%PDF", "a PDF"),
    (b"SQLite format 3", "a sqlite database"),
    (b"\xfd7zXZ", "an xz archive"),
    (b"BZh", "a bzip2 archive"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive"),
    (b"FEA1", "a Feather file of version 1"),
    (b"Obj\x01", "an Avro file"),
    (b"ORC", "an ORC file"),
    (b"\x89HDF", "an HDF5 file"),
    (b"\x93NUMPY", "a numpy array"),
    (b"\x80\x02", "a pickle"),
    (b"\x80\x03", "a pickle"),
    (b"\x80\x04", "a pickle"),
    (b"\x80\x05", "a pickle"),
    (b"version https://git-lfs", "a pointer of Git LFS, whose file was not downloaded"),
)
_WIDE: Final = (
    (b"\xff\xfe\x00\x00", "UTF-32"),
    (b"\x00\x00\xfe\xff", "UTF-32"),
    (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
)
_PAGE: Final = re.compile(rb"\s*<(!doctype html|html|head|body)\b", re.IGNORECASE)
_MARKUP: Final = re.compile(rb"\s*<[?!/\w]")


def foreign_kind(start: bytes) -> str | None:
    """Return the kind of a file that is not read, by its first bytes; None for what may be read.

    >>> foreign_kind(b"<!DOCTYPE html><title>Sign in"), foreign_kind(b'[{"instruction": ')
    ('a web page', None)
    """
    found = next((kind for magic, kind in _FOREIGN if start.startswith(magic)), None)
    if found is not None:
        return found
    text = start.removeprefix(b"\xef\xbb\xbf")
    if _PAGE.match(text):
        return "a web page"
    return "XML" if text.lstrip().startswith(b"<?xml") else None


def is_markup(start: bytes) -> bool:
    """Return True for what begins as XML or HTML, and so is no JSON."""
    return _MARKUP.match(start.removeprefix(b"\xef\xbb\xbf")) is not None


def wide_encoding(start: bytes) -> str | None:
    """Return the name of an encoding of text that is not UTF-8, by a file's first bytes.

    >>> wide_encoding("text".encode("utf-16")), wide_encoding(b"text")
    ('UTF-16', None)
    """
    found = next((name for magic, name in _WIDE if start.startswith(magic)), None)
    if found is not None:
        return found
    pairs = start[: len(start) // 2 * 2]
    halves = (pairs[0::2], pairs[1::2])
    is_wide = len(pairs) > 2 and any(not any(half) for half in halves)
    return "UTF-16" if is_wide and any(pairs) else None
