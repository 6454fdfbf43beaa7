"""Every fault of a task's data is one line that names place, rule and value."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from droplora_sweep.errors import InputError
from droplora_sweep.spec import TaskSpec
from droplora_sweep.spec.task import BENCHMARK_NAMES
from droplora_sweep.tasks.loading import load_task
from droplora_sweep.tasks.registry import BENCHMARKS
from tests.conftest import REPOSITORY

from .conftest import make_record

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    WriteBoolQ = Callable[..., Path]

RECORDS = [make_record(index) for index in range(10)]


def problems(data: Path | str | None, *benchmarks: str, **fields: Any) -> list[str]:
    spec = TaskSpec(
        benchmarks=benchmarks or ("boolq",),
        data=None if data is None else str(data),
        **{"num_validation": 2, **fields},
    )
    with pytest.raises(InputError) as raised:
        load_task(spec)
    assert all(fault.where == "" for fault in raised.value.faults)
    return [str(fault) for fault in raised.value.faults]


def test_unknown_benchmark_suggests_the_nearest() -> None:
    assert problems(None, "builtin_chioce", "nothing_like_it") == [
        "task.benchmarks: unknown benchmark 'builtin_chioce'; did you mean builtin_choice?",
        "task.benchmarks: unknown benchmark 'nothing_like_it'; known: boolq, piqa, siqa, "
        "hellaswag, winogrande, arc_easy, arc_challenge, openbookqa, gsm8k, math, humaneval, mbpp, "
        "mbpp_evalplus, mt_bench, mt_bench_first_turn, builtin_choice, builtin_math, builtin_code, "
        "builtin_noisy",
    ]


def test_every_known_benchmark_is_known_by_its_name() -> None:
    assert set(BENCHMARK_NAMES) == BENCHMARKS.keys()


def test_repeated_benchmark() -> None:
    assert problems(None, "builtin_math", "builtin_math") == [
        "task.benchmarks: must name each benchmark once, got builtin_math twice"
    ]


def test_no_data_folder() -> None:
    assert problems(None, "boolq", "arc_easy") == [
        "task.data: must name the folder that holds boolq and arc_easy, got null; "
        "e.g. --set task.data=FOLDER"
    ]


def test_missing_folder_names_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "commonsense").mkdir()
    assert problems(tmp_path / "comonsense") == [
        f"task.data: {tmp_path}/comonsense does not exist; the nearest in {tmp_path}: "
        "commonsense; a Hub id (owner/name) also needs task.revision, its commit"
    ]


def test_data_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "train.json").write_text("[]")
    assert problems(tmp_path / "train.json") == [
        f"task.data: must be a folder, got the file {tmp_path}/train.json"
    ]


def test_folder_without_the_benchmark(tmp_path: Path) -> None:
    (tmp_path / "bool_q").mkdir()
    assert problems(tmp_path) == [
        f"task.data: {tmp_path} has no folder boolq; the nearest in {tmp_path}: bool_q"
    ]
    assert problems(tmp_path, "arc_easy") == [
        f"task.data: {tmp_path} has no folder arc_easy or ARC-Easy; "
        f"the nearest in {tmp_path}: bool_q"
    ]


def test_benchmark_one_folder_further_down(write_boolq: WriteBoolQ) -> None:
    data = write_boolq(train=RECORDS)
    assert problems(data.parent) == [
        f"task.data: {data.parent} has no folder boolq, but {data} has: use that"
    ]


def test_only_a_test_file(write_boolq: WriteBoolQ) -> None:
    data = write_boolq(test=RECORDS)
    assert problems(data) == [
        f"task.data: {data}/boolq must hold train.json or validation.json (or .jsonl, "
        ".csv, .tsv, .parquet, .arrow), got test.json: a task needs a validation split, which is "
        "never taken from the test split"
    ]


def test_empty_folder(write_boolq: WriteBoolQ) -> None:
    data = write_boolq()
    assert problems(data) == [
        f"task.data: {data}/boolq must hold train.json or validation.json (or .jsonl, "
        ".csv, .tsv, .parquet, .arrow), got none of them: a task needs a validation split, which "
        "is never taken from the test split"
    ]


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_empty_split(write_boolq: WriteBoolQ, split: str) -> None:
    data = write_boolq(**{"train": RECORDS, split: []})
    assert problems(data) == [
        f"task.data: {data}/boolq/{split}.json: must hold at least one record, got none"
    ]


def test_malformed_json_names_its_line(write_boolq: WriteBoolQ) -> None:
    text = json.dumps(RECORDS, indent=1)
    data = write_boolq(train=text.replace('"input": ""', '"input": ,', 1))
    assert problems(data) == [
        f"task.data: {data}/boolq/train.json:4: must be JSON: Expecting value"
    ]


def test_malformed_line_of_json_lines(write_boolq: WriteBoolQ) -> None:
    data = write_boolq()
    lines = [json.dumps(record) for record in RECORDS]
    (data / "boolq" / "train.jsonl").write_text("\n".join([*lines[:2], "{", *lines[2:]]))
    (problem,) = problems(data)
    assert problem.startswith(f"task.data: {data}/boolq/train.jsonl:3: must be JSON: Expecting")


def test_not_a_list(write_boolq: WriteBoolQ) -> None:
    data = write_boolq(train="{}")
    assert problems(data) == [
        f"task.data: {data}/boolq/train.json:1: must be a JSON list of records, got an empty object"
    ]


def test_not_text(write_boolq: WriteBoolQ) -> None:
    data = write_boolq(train=RECORDS)
    (data / "boolq" / "train.json").write_bytes(b"[\xff]")
    assert problems(data) == [
        f"task.data: {data}/boolq/train.json:1: must be UTF-8 text, got the byte 0xff: invalid "
        "start byte"
    ]


def test_bad_records_of_all_files_are_reported_together(write_boolq: WriteBoolQ) -> None:
    without_output = {name: text for name, text in make_record(0).items() if name != "output"}
    data = write_boolq(
        train=[make_record(0), without_output, make_record(1, answer=True), "text"],
        test=[make_record(0, answer="maybe"), make_record(1, instruction=" ")],
    )
    train, test = f"task.data: {data}/boolq/train.json", f"task.data: {data}/boolq/test.json"
    assert problems(data, num_validation=1) == [
        f"{train}: record 2: output: is missing; every record needs instruction, output, answer",
        f"{train}: record 3: answer: must be text, got true",
        f"{train}: record 4: must be an object with instruction, output, answer, got text",
        f"{test}: record 1: answer: must be one of true, false, got 'maybe'",
        f"{test}: record 2: instruction: must not be empty",
    ]


def test_a_file_with_many_bad_records_is_summed_up(write_boolq: WriteBoolQ) -> None:
    data = write_boolq(train=[make_record(index, answer="?") for index in range(50)])
    found = problems(data)
    assert len(found) == 6
    assert found[-1] == f"task.data: {data}/boolq/train.json: 45 more such problems"


def test_more_validation_examples_than_there_are(write_boolq: WriteBoolQ) -> None:
    assert problems(write_boolq(train=RECORDS), num_validation=11) == [
        "task.num_validation: boolq can give at most 10 validation examples, got 11"
    ]
    assert problems(None, "builtin_math", num_validation=1001) == [
        "task.num_validation: builtin_math can give at most 1000 validation examples, got 1001"
    ]


def test_validation_leaves_nothing_to_train_on(write_boolq: WriteBoolQ) -> None:
    assert problems(write_boolq(train=RECORDS), num_validation=10) == [
        "task.num_validation: must leave boolq training examples, got 10: all it has"
    ]


def test_nothing_to_train_on_at_all(write_boolq: WriteBoolQ) -> None:
    assert problems(write_boolq(validation=RECORDS)) == [
        "task.benchmarks: boolq have no training examples"
    ]


def test_unreachable_hub_is_one_line() -> None:
    script = (
        "from droplora_sweep.spec import TaskSpec\n"
        "from droplora_sweep.tasks.loading import load_task\n"
        "from droplora_sweep.errors import InputError\n"
        "try:\n"
        "    load_task(TaskSpec(benchmarks=('boolq',), data='owner/name', revision='a' * 40))\n"
        "except InputError as error:\n"
        "    print(error)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        cwd=REPOSITORY,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )
    assert result.stdout == (
        f"task.data: the Hub cannot be reached for owner/name at {'a' * 40}, and no earlier "
        "download is on this machine; give a local folder instead\n"
    )
