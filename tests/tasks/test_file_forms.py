"""The forms in which programs write the same records, and what is no form of records at all."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
from datasets import Dataset

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
LINES = "\n".join(map(json.dumps, RECORDS))
TABLE = pd.DataFrame(RECORDS)

FORMS: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "lines named json": (".json", lambda file: file.write_text(LINES)),
    "lines with empty ones": (".json", lambda file: file.write_text(f"\n{LINES}\n\n")),
    "list named jsonl": (".jsonl", lambda file: file.write_text(json.dumps(RECORDS))),
    "indented list named jsonl": (
        ".jsonl",
        lambda file: file.write_text(json.dumps(RECORDS, indent=1)),
    ),
    "in data": (
        ".json",
        lambda file: file.write_text(json.dumps({"version": "1.0", "data": RECORDS})),
    ),
    "in rows, gzipped": (
        ".json.gz",
        lambda file: file.write_bytes(gzip.compress(json.dumps({"rows": RECORDS}).encode())),
    ),
    **{
        f"pandas, {orient}": (
            ".json",
            lambda file, orient=orient: TABLE.to_json(file, orient=orient),
        )
        for orient in ("records", "columns", "index", "split", "table")
    },
    "pandas, filtered": (".json", lambda file: TABLE.set_index(TABLE.index * 3 + 5).to_json(file)),
    "pandas, lists": (
        ".json",
        lambda file: file.write_text(json.dumps(TABLE.to_dict("list"))),
    ),
    "pandas, csv": (".csv", lambda file: TABLE.to_csv(file)),
    "pandas, gzipped csv": (".csv.gz", lambda file: TABLE.to_csv(file, index=False)),
    "pandas, tsv": (".tsv", lambda file: TABLE.to_csv(file, sep="\t", index=False)),
    "pandas, semicolons": (".csv", lambda file: TABLE.to_csv(file, sep=";", index=False)),
    "byte order mark": (
        ".csv",
        lambda file: TABLE.to_csv(file, index=False, encoding="utf-8-sig", lineterminator="\r\n"),
    ),
    "datasets, json": (".json", lambda file: Dataset.from_list(RECORDS).to_json(file)),
    "datasets, csv": (".csv", lambda file: Dataset.from_list(RECORDS).to_csv(file)),
}


@pytest.mark.parametrize(("suffix", "write"), FORMS.values(), ids=FORMS.keys())
def test_every_form_has_the_same_records(
    tmp_path: Path, suffix: str, write: Callable[[Path], Any]
) -> None:
    (tmp_path / "boolq").mkdir()
    (tmp_path / "boolq" / "train.json").write_text(json.dumps(RECORDS))
    plain = load(benchmarks=["boolq"], data=str(tmp_path))
    (tmp_path / "boolq" / "train.json").unlink()
    write(tmp_path / "boolq" / f"train{suffix}")

    assert load(benchmarks=["boolq"], data=str(tmp_path)).digests == plain.digests
    own = {"data": str(tmp_path / "boolq" / f"train{suffix}"), "scoring": "exact"}
    assert len(load(benchmarks={"mine": own}).benchmarks[0].train) == 10


NO_RECORDS = {
    "one record": (json.dumps(RECORDS[0]), "must be a JSON list of records, got one object with "),
    "text": ('"text"', "must be a JSON list of records, got text"),
    "number": ("3", "must be a JSON list of records, got a number"),
    "several lists": (
        json.dumps({"train": RECORDS, "test": RECORDS}),
        "must hold one list of records, got several: train, test; write each split to a file of "
        "its own",
    ),
    "ragged columns": (
        '{"instruction": ["a", "b"], "output": ["c"]}',
        "must have as many values in each column, got 2 of instruction, 1 of output",
    ),
    "ragged rows": (
        '{"columns": ["instruction", "output"], "data": [["a"]]}',
        "must have as many values in each row of `data` as `columns`, 2",
    ),
    "object of objects": (
        '{"first": {"instruction": "a"}, "second": {"output": "b"}}',
        "must be a JSON list of records, got an object of objects; pandas writes the list with "
        'orient="records"',
    ),
    "one conversation": (
        '{"conversations": [{"from": "human", "value": "a"}]}',
        "must be a JSON list of records, got one object with conversations",
    ),
}


@pytest.mark.parametrize(("text", "problem"), NO_RECORDS.values(), ids=NO_RECORDS.keys())
def test_what_is_no_list_of_records_is_named(tmp_path: Path, text: str, problem: str) -> None:
    file = tmp_path / "x.json"
    file.write_text(text)
    (line,) = refusal(benchmarks={"mine": {"data": str(file), "scoring": "exact"}})
    assert line.startswith(f"task.benchmarks.mine.data: {file}:1: {problem}")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("x.json", "[]"),
        ("x.jsonl", "[]"),
        ("x.json", '{"data": []}'),
        ("x.json", '{"instruction": {}, "output": {}}'),
        ("x.csv", ""),
        ("x.csv", "instruction,output"),
    ],
)
def test_no_records_in_any_form(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    assert read_records(tmp_path / name) == ([], [])


def test_faults_of_csv_are_at_their_lines(tmp_path: Path) -> None:
    file = tmp_path / "x.csv"
    own = {"data": str(file), "scoring": "exact", "fields": {"instruction": "instruction"}}
    place = f"task.benchmarks.mine.data: {file}"
    file.write_text("instruction,output,answer\na,b,b\nc\n\nd,e,e,f\n")
    assert refusal(benchmarks={"mine": own}) == [
        f"{place}:3: must have 3 columns, as the first row, got 1",
        f"{place}:5: must have 3 columns, as the first row, got 4",
    ]
    for text, problem in (
        ('instruction,answer\na,b\nc,"d\n', ":3: must be CSV: unexpected end of data"),
        ("answer,answer\na,b\n", ":1: must name each column once, got 'answer' twice"),
        ("instruction,answer\n", ": must hold at least one record, got none"),
    ):
        file.write_text(text)
        assert refusal(benchmarks={"mine": own}) == [f"{place}{problem}"]


def test_a_text_of_any_length_is_read_up_to_a_limit(tmp_path: Path) -> None:
    file = tmp_path / "x.csv"
    file.write_text(f"instruction\n{'long ' * 100_000}\n")
    [(_, record)], _ = read_records(file)
    assert len(record["instruction"]) == 500_000

    bomb = tmp_path / "x.jsonl.gz"
    bomb.write_bytes(gzip.compress(b" " * 10_000_000))
    with pytest.raises(BadDataError) as raised:
        read_records(bomb, max_bytes=1_000_000)
    assert str(raised.value) == (
        f"{bomb}: must be at most 1,000,000 bytes of text, unpacked, got more; shards of parquet "
        "may be longer"
    )
