"""Tables of other programs: each is read as that program reads it, and named where it cannot be."""

from __future__ import annotations

import gzip
import io
import json
from typing import TYPE_CHECKING, Any

import datasets
import pandas as pd
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest

from droplora_sweep.tasks.data_files import read_records
from droplora_sweep.tasks.json_records import BadDataError

from .conftest import load, make_record, refusal

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

RECORDS = [
    make_record(index, instruction=f'Is "{index}", the\nnumber {index}; odd?\u2028\t')
    for index in range(12)
]
FRAME = pd.DataFrame(RECORDS)
TABLE = pa.Table.from_pylist(RECORDS)


def write_ipc(file: Path, make: Callable[..., Any], **options: Any) -> None:
    with make(str(file), TABLE.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(TABLE, max_chunksize=5)


WRITERS: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "pandas, parquet": (".parquet", FRAME.to_parquet),
    "pandas, feather": (".feather", FRAME.to_feather),
    "polars' feather": (
        ".feather",
        lambda file: pyarrow.feather.write_feather(TABLE, file, compression="zstd"),
    ),
    "arrow file": (".arrow", lambda file: write_ipc(file, pa.ipc.new_file)),
    "arrow file, lz4": (".arrow", lambda file: write_ipc(file, pa.ipc.new_file, compression="lz4")),
    "arrow stream": (".arrow", lambda file: write_ipc(file, pa.ipc.new_stream)),
    "parquet under another name": (".json", lambda file: pq.write_table(TABLE, file)),
    "dictionary": (
        ".parquet",
        lambda file: pq.write_table(
            TABLE.set_column(3, "answer", TABLE.column("answer").dictionary_encode()), file
        ),
    ),
    "large text": (
        ".arrow",
        lambda file: pyarrow.feather.write_feather(
            TABLE.cast(pa.schema([(name, pa.large_string()) for name in TABLE.column_names])), file
        ),
    ),
    "gzip under another name": (
        ".jsonl",
        lambda file: file.write_bytes(gzip.compress("\n".join(map(json.dumps, RECORDS)).encode())),
    ),
    "ndjson": (".ndjson", lambda file: FRAME.to_json(file, orient="records", lines=True)),
    "tsv whose first row has commas": (
        ".tsv",
        lambda file: FRAME.assign(**{"a,b,c,d,e,f": 1}).to_csv(file, sep="\t", index=False),
    ),
}


@pytest.mark.parametrize(("suffix", "write"), WRITERS.values(), ids=WRITERS.keys())
def test_a_table_has_the_records_that_were_written(
    tmp_path: Path, suffix: str, write: Callable[[Path], Any]
) -> None:
    file = tmp_path / f"x{suffix}"
    write(file)
    records, problems = read_records(file)
    assert problems == []
    assert [{name: record[name] for name in RECORDS[0]} for _, record in records] == RECORDS
    task = load(benchmarks={"mine": {"data": str(file), "scoring": "exact"}})
    assert len(task.benchmarks[0].train) == 10


def test_a_saved_data_set_is_read_in_its_order(tmp_path: Path) -> None:
    """Shuffled and in shards, as ``datasets`` itself reads it."""
    chosen = datasets.Dataset.from_list(RECORDS).shuffle(seed=1).select(range(9))
    chosen.save_to_disk(str(tmp_path / "saved"), num_shards=2)
    records, _ = read_records(tmp_path / "saved")
    assert [record for _, record in records] == list(datasets.load_from_disk(tmp_path / "saved"))
    assert records[0][0].startswith(f"{tmp_path}/saved/data-00000-of-00002.arrow: row 1")

    mine = {"data": str(tmp_path / "saved"), "scoring": "exact"}
    assert len(load(benchmarks={"mine": mine}).benchmarks[0].train) == 7
    train = {"name": "mine", "data": str(tmp_path / "saved")}
    mixture = load(benchmarks=["builtin_choice"], train=train).mixture
    assert mixture is not None
    assert len(mixture.train) == 9


def test_saved_splits_are_a_benchmarks_splits(tmp_path: Path) -> None:
    whole = datasets.Dataset.from_list(RECORDS)
    splits = {"train": range(6), "validation": range(6, 9), "test": range(9, 12)}
    saved = datasets.DatasetDict({name: whole.select(rows) for name, rows in splits.items()})
    saved.save_to_disk(str(tmp_path / "boolq"))
    [own] = load(
        benchmarks={"mine": {"data": str(tmp_path / "boolq"), "scoring": "exact"}}
    ).benchmarks
    assert (len(own.train), len(own.validation), own.num_test) == (6, 2, 3)
    [known] = load(benchmarks=["boolq"], data=str(tmp_path)).benchmarks
    assert {one.instruction for one in known.test()} == {one["instruction"] for one in RECORDS[9:]}


def test_a_class_label_is_read_by_its_name(tmp_path: Path) -> None:
    names = ["negative", "positive"]
    features = datasets.Features({"text": datasets.Value("string"), "label": None})
    features["label"] = datasets.ClassLabel(names=names)
    rows = [{"text": f"film {index}", "label": index % 2} for index in range(8)]
    made = datasets.Dataset.from_list(rows, features=features)
    made.to_parquet(tmp_path / "x.parquet")
    made.save_to_disk(str(tmp_path / "saved"))
    for data in ("x.parquet", "saved"):
        mine = {
            "data": str(tmp_path / data),
            "scoring": "choice",
            "options": names,
            "fields": {"instruction": "text", "answer": "label"},
        }
        [benchmark] = load(benchmarks={"mine": mine}).benchmarks
        answers = {one.instruction: one.answer for one in benchmark.train}
        assert all(answers[text] == names[int(text[-1]) % 2] for text in answers)


def test_fields_reach_into_records(tmp_path: Path) -> None:
    """SQuAD's layout, and a column whose name has a dot."""
    rows = [
        {"q.text": f"Who is {i}?", "answers": {"text": [f"n{i}", "x"]}, "meta": {"id": f"a{i}"}}
        for i in range(5)
    ]
    fields = {"instruction": "q.text", "answer": "answers.text.0", "id": "meta.id"}
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "x.parquet")
    (tmp_path / "x.jsonl").write_text("\n".join(map(json.dumps, rows)))
    for name in ("x.parquet", "x.jsonl"):
        mine = {"data": str(tmp_path / name), "scoring": "exact", "fields": fields}
        examples = load(benchmarks={"mine": mine}).benchmarks[0].train
        assert {(one.instruction, one.answer, one.id) for one in examples} <= {
            (f"Who is {i}?", f"n{i}", f"a{i}") for i in range(5)
        }
    mine["fields"] = {**fields, "answer": "answers.text.2"}
    line, *_ = refusal(benchmarks={"mine": mine})
    assert line == (
        f"task.benchmarks.mine.data: {tmp_path}/x.jsonl:1: answers.text.2: is missing; every "
        "record needs q.text, answers.text.2"
    )


def _parquet(table: pa.Table) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()


def _stream(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


TWICE = pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], names=["answer", "answer"])
LATE = pa.table({"instruction": ["a"], "when": pa.array([2**62], pa.timestamp("s"))})
READ = "must be JSON, JSON lines, CSV, TSV, parquet or Arrow, got"

REFUSED: dict[str, tuple[str, bytes, str]] = {
    "workbook": ("x.xlsx", b"PK\x03\x04rest", f": {READ} a zip archive, as .xlsx is"),
    "workbook named csv": ("x.csv", b"PK\x03\x04rest", f": {READ} a zip archive, as .xlsx is"),
    "xml": ("x.xml", b'<?xml version="1.0"?><rows/>', f": {READ} XML"),
    "xml named json": ("x.json", b"<rows><row/></rows>", f": {READ} XML"),
    "page": ("x.json", b"\n<!DOCTYPE html><title>Sign in</title>", f": {READ} a web page"),
    "pdf": ("x.pdf", b"%PDF-1.7", f": {READ} a PDF"),
    "pickle": ("x.pkl", b"\x80\x04\x95", f": {READ} a pickle"),
    "zstd": ("x.jsonl.zst", b"\x28\xb5\x2f\xfd", f": {READ} a zstd archive"),
    "gzipped workbook": (
        "x.json.gz",
        gzip.compress(b"PK\x03\x04rest"),
        f": {READ} a zip archive, as .xlsx is",
    ),
    "git lfs": (
        "x.parquet",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
        f": {READ} a pointer of Git LFS, whose file was not downloaded",
    ),
    "utf-16": (
        "x.csv",
        "instruction,answer\na,b\n".encode("utf-16"),
        ": must be UTF-8 text, got UTF-16; save it as UTF-8",
    ),
    "utf-16 without its mark": (
        "x.json",
        '[{"instruction": "a"}]'.encode("utf-16-le"),
        ": must be UTF-8 text, got UTF-16; save it as UTF-8",
    ),
    "latin-1": (
        "x.csv",
        "instruction,answer\na,b\nGrüße,c\n".encode("latin-1"),
        ":3: must be UTF-8 text, got the byte 0xfc: invalid start byte",
    ),
    "another delimiter": (
        "x.csv",
        b"instruction|answer\na|b\n",
        ":1: must separate columns by commas, semicolons or tabs, got one column, "
        "'instruction|answer'",
    ),
    "parquet without rows": (
        "x.parquet",
        _parquet(TABLE.slice(0, 0)),
        ": must hold at least one record, got none",
    ),
    "parquet with a name twice": (
        "x.parquet",
        _parquet(TWICE),
        ": must name each column once, got 'answer' twice",
    ),
    "arrow with a name twice": (
        "x.arrow",
        _stream(TWICE),
        ": must name each column once, got 'answer' twice",
    ),
    "gzipped parquet": (
        "x.parquet.gz",
        gzip.compress(_parquet(TABLE)),
        ": must be text where it is gzipped, got parquet or Arrow, which is packed inside; unpack "
        "it",
    ),
    "no arrow": ("x.arrow", b"rows", ": must be an Arrow file or stream: "),
    "arrow, cut": ("x.arrow", _stream(TABLE)[:300], ": must be an Arrow file or stream: "),
    "no parquet": ("x.parquet", b"rows", ": must be a parquet file: "),
}


@pytest.mark.parametrize(("name", "content", "problem"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_read_is_named(
    tmp_path: Path, name: str, content: bytes, problem: str
) -> None:
    file = tmp_path / name
    file.write_bytes(content)
    [line] = refusal(benchmarks={"mine": {"data": str(file), "scoring": "exact"}})
    assert line.startswith(f"task.benchmarks.mine.data: {file}{problem}")


def test_a_column_without_values_in_python_is_named(tmp_path: Path) -> None:
    file = tmp_path / "x.arrow"
    file.write_bytes(_stream(LATE))
    with pytest.raises(BadDataError) as raised:
        read_records(file)
    assert str(raised.value).startswith(
        f"{file}: when: must be a column that can be read, got timestamp[s]: "
    )


def test_a_value_that_is_no_text_is_named(tmp_path: Path) -> None:
    file = tmp_path / "x.parquet"
    pq.write_table(pa.table({"instruction": ["a"], "answer": [b"\xff"], "output": ["b"]}), file)
    [line] = refusal(benchmarks={"mine": {"data": str(file), "scoring": "exact"}})
    assert line.endswith(f"{file}: row 1: answer: must be text, got \"b'\\\\xff'\"")


def test_a_folder_without_data_files_names_what_it_holds(tmp_path: Path) -> None:
    for name in ("notes.txt", "rows.xlsx"):
        (tmp_path / name).touch()
    [line] = refusal(benchmarks={"mine": {"data": str(tmp_path), "scoring": "exact"}})
    assert "(or .jsonl, .csv, .tsv, .parquet, .arrow), got notes.txt, rows.xlsx: " in line


@pytest.mark.parametrize(
    "content", ["[]", '{"_data_files": [{"filename": "../x.arrow"}]}', '{"_data_files": 1}']
)
def test_a_broken_saved_data_set_is_named(tmp_path: Path, content: str) -> None:
    datasets.Dataset.from_list(RECORDS).save_to_disk(str(tmp_path / "saved"))
    state = tmp_path / "saved" / "state.json"
    state.write_text(content)
    [line] = refusal(benchmarks={"mine": {"data": str(tmp_path / "saved"), "scoring": "exact"}})
    assert line.startswith(f"task.benchmarks.mine.data: {state}: must name ")
