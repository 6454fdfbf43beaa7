"""Files and folders of an S3 server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pyarrow.fs import FileSystem

from droplora_sweep.fetching.errors import FetchError
from droplora_sweep.fetching.fetch import fetch
from droplora_sweep.fetching.stores import fetch_from_store
from droplora_sweep.storage.object_store import below

from .conftest import ROWS

if TYPE_CHECKING:
    from pathlib import Path

    from droplora_sweep.fetching.cache import Cache


def put(url: str, content: bytes) -> None:
    files, path = FileSystem.from_uri(url)
    with files.open_output_stream(path) as stream:
        stream.write(content)


def test_a_file_of_a_bucket(s3_url: str, cache: Cache) -> None:
    url = below(s3_url, "rows.jsonl")
    put(url, ROWS)
    first = fetch(url, cache=cache)
    assert (first.path.name, first.path.read_bytes()) == ("rows.jsonl", ROWS)
    assert fetch(url, cache=cache) == first
    put(url, ROWS[:50])
    assert fetch(url, cache=cache).path.read_bytes() == ROWS[:50]
    assert fetch(url, first.pin, cache=cache) == first


def test_a_folder_of_a_bucket_is_its_data_files(s3_url: str, cache: Cache) -> None:
    for name in ("train.jsonl", "deep/test.jsonl", "weights.safetensors", "notes.txt"):
        put(below(s3_url, name), ROWS + name.encode())
    first = fetch(s3_url, cache=cache)
    names = {file.relative_to(first.path).as_posix() for file in first.path.rglob("*.*")}
    assert names == {"train.jsonl", "deep/test.jsonl"}
    put(below(s3_url, "notes.txt"), b"others")
    assert fetch(s3_url, cache=cache).pin == first.pin
    put(below(s3_url, "deep/test.jsonl"), ROWS)
    assert fetch(s3_url, cache=cache).pin != first.pin


def test_what_is_not_there_or_too_large_is_named(s3_url: str, tmp_path: Path) -> None:
    place = s3_url.partition("?")[0]
    with pytest.raises(FetchError) as raised:
        fetch_from_store(below(s3_url, "none.jsonl"), tmp_path, {}, (".jsonl",))
    assert (
        str(raised.value) == f"{place}/none.jsonl: cannot be read: there is no such file or folder"
    )
    put(below(s3_url, "rows.jsonl"), ROWS)
    with pytest.raises(FetchError) as raised:
        fetch_from_store(below(s3_url, "rows.jsonl"), tmp_path, {}, (".jsonl",), max_bytes=10)
    assert str(raised.value) == (f"{place}/rows.jsonl: must be at most 10 bytes, got {len(ROWS):,}")
    with pytest.raises(FetchError) as raised:
        fetch_from_store(s3_url, tmp_path, {}, (".csv",))
    assert str(raised.value) == f"{place}: must hold data files, got none"
