"""Whatever is in a data file, reading it ends in examples or in one line for each fault.

Bytes of good files are cut, repeated, overwritten and put together anew, and records of every
format get values of every other type. Nothing else may come of it: no other exception, no message
of several lines, none that cannot be printed, and no time or memory out of proportion.
"""

from __future__ import annotations

import gzip
import io
import json
import time
import tracemalloc
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from droplora_sweep.errors import InputError
from droplora_sweep.spec import TaskSpec
from droplora_sweep.tasks.formats import FORMATS
from droplora_sweep.tasks.loading import load_task

from .conftest import make_record
from .test_renamed_fields import RECORDS as BY_FORMAT

RECORDS = [make_record(index) for index in range(8)]
TABLE = pd.DataFrame(RECORDS)

GOOD: dict[str, bytes] = {
    "list.json": json.dumps(RECORDS).encode(),
    "indented.json": json.dumps(RECORDS, indent=1).encode(),
    "lines.json": "\n".join(map(json.dumps, RECORDS)).encode(),
    "lines.jsonl": "\n".join(map(json.dumps, RECORDS)).encode(),
    "data.json": json.dumps({"data": RECORDS}).encode(),
    "columns.json": TABLE.to_json().encode(),
    "split.json": TABLE.to_json(orient="split").encode(),
    "rows.csv": TABLE.to_csv().encode(),
    "rows.tsv": TABLE.to_csv(sep="\t").encode(),
    "lines.jsonl.gz": gzip.compress("\n".join(map(json.dumps, RECORDS)).encode()),
}


def _parquet() -> bytes:
    buffer = io.BytesIO()
    TABLE.to_parquet(buffer)
    return buffer.getvalue()


GOOD["rows.parquet"] = _parquet()

TOKENS = [
    *(b"[", b"]", b"{", b"}", b",", b":", b'"', b"'", b"\\", b"\n", b"\r\n", b"\r", b"\0", b";"),
    *(b"\xff", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\\ud83d", b"\\u0000", b"\xe2\x80\xa8"),
    *(b"null", b"NaN", b"-Infinity", b"1e999", b"0x1", b"-", b"true", b"{}", b"[]", b'""'),
    *(b"[" * 3_000, b'{"a":' * 3_000, b"7" * 5_000, b'"' * 1_000, b"\\" * 1_001),
    b'"instruction"',
    b'"data": [{}]',
    b'"columns": [1], ',
]

values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(st.characters(), max_size=8),
        st.sampled_from(["", " ", "\ud83d", "\0", "true", "1e5", "####", "\\boxed{", "assert (("]),
        st.just(10**4_200),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=5,
)
edits = st.lists(
    st.tuples(
        st.sampled_from(["insert", "delete", "replace", "repeat"]),
        st.floats(0, 1),
        st.integers(1, 40),
        st.sampled_from(TOKENS),
    ),
    min_size=1,
    max_size=4,
)


def mangled(content: bytes, changes: list[tuple[str, float, int, bytes]]) -> bytes:
    for kind, share, length, token in changes:
        at = int(share * len(content))
        end = at + length
        middle = {
            "insert": token + content[at:end],
            "delete": b"",
            "replace": token,
            "repeat": content[at:end] * 2,
        }[kind]
        content = content[:at] + middle + content[end:]
    return content


def check(name: str, content: bytes, task: dict[str, Any]) -> None:
    """Read a file in both ways of treating bad records."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / name
        file.write_bytes(content)
        for policy in ("refuse", "skip"):
            text = json.dumps(task).replace("FILE", str(file))
            spec = TaskSpec.model_validate(
                {"num_validation": 2, "on_bad_record": policy, **json.loads(text)}
            )
            started = time.monotonic()
            try:
                read = load_task(spec)
            except InputError as error:
                for fault in error.faults:
                    line = str(fault)
                    assert line.startswith("task.")
                    assert len(line.splitlines()) == 1, line
                    line.encode()
            else:
                for note in read.notes:
                    note.encode()
            assert time.monotonic() - started < 20


def check_bytes(name: str, changes: list[tuple[str, float, int, bytes]]) -> None:
    mine = {"data": "FILE", "scoring": "choice", "options": ["true", "false"]}
    check(name, mangled(GOOD[name], changes), {"benchmarks": {"mine": mine}})


def check_record(layout: str, record: Any, changes: dict[str, Any], form: str) -> None:
    if record is None:
        record = {**BY_FORMAT.get(layout, RECORDS[0]), **changes}
    records = [BY_FORMAT.get(layout, RECORDS[0]), record]
    content = json.dumps(records) if form == "list" else "\n".join(map(json.dumps, records))
    train = {"name": "mine", "data": "FILE", "format": layout}
    check("x.json", content.encode(), {"benchmarks": ["builtin_choice"], "train": train})


names = [
    "instruction",
    "input",
    "output",
    "answer",
    "id",
    "question",
    "problem",
    "solution",
    "query",
    "response",
    "type",
    "lang",
    "conversations",
    "messages",
    "idx",
    "task_id",
    "prompt",
    "entry_point",
    "test",
    "text",
    "code",
    "test_list",
    "test_imports",
    "test_setup_code",
    "question_id",
    "turns",
    "reference",
    "category",
]
records = st.tuples(
    st.sampled_from(sorted(FORMATS)),
    st.one_of(st.none(), values),
    st.dictionaries(st.sampled_from(names), values, min_size=1, max_size=3),
    st.sampled_from(["list", "lines"]),
)
quick = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
long = settings(quick, max_examples=1_000)


@quick
@given(name=st.sampled_from(sorted(GOOD)), changes=edits)
def test_mangled_bytes(name: str, changes: list[tuple[str, float, int, bytes]]) -> None:
    check_bytes(name, changes)


@quick
@given(case=records)
def test_values_of_any_type(case: tuple[str, Any, dict[str, Any], str]) -> None:
    check_record(*case)


@pytest.mark.slow
@long
@given(name=st.sampled_from(sorted(GOOD)), changes=edits)
def test_many_mangled_bytes(name: str, changes: list[tuple[str, float, int, bytes]]) -> None:
    check_bytes(name, changes)


@pytest.mark.slow
@long
@given(case=records)
def test_many_values_of_any_type(case: tuple[str, Any, dict[str, Any], str]) -> None:
    check_record(*case)


WALLS = {
    "brackets": b"[" * 50_000,
    "objects": b'[{"a":' * 20_000,
    "quotes": b'["' + b'\\"' * 50_000,
    "backslashes": b'["' + b"\\" * 50_001,
    "digits": b"[" + b"7" * 100_000 + b"]",
    "exponent": b"[1e" + b"9" * 100_000 + b"]",
    "commas": b"[" + b"," * 50_000,
    "deep, then quotes": b"[" * 2_000 + b'"' * 50_000,
    "empty lines": b"\n" * 10_000,
}


@pytest.mark.parametrize("content", WALLS.values(), ids=WALLS.keys())
def test_a_wall_of_one_character_takes_time_and_memory_by_its_length(content: bytes) -> None:
    tracemalloc.start()
    started = time.monotonic()
    for name in ("x.json", "x.jsonl", "x.csv"):
        mine = {"data": "FILE", "scoring": "exact"}
        check(name, content, {"benchmarks": {"mine": mine}})
    assert time.monotonic() - started < 60
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 40 * len(content) + 8_000_000
