"""Loading gives every benchmark's splits, and the test split only when asked."""

from __future__ import annotations

import json
import pickle
import re
from typing import TYPE_CHECKING

import pytest

from droplora_sweep.spec import TaskSpec
from droplora_sweep.tasks.builtin.generation import BUILTIN_BENCHMARKS, MAX_EXAMPLES
from droplora_sweep.tasks.loading import load_task
from droplora_sweep.tasks.registry import BENCHMARKS
from droplora_sweep.tasks.task import Example, split_digest, split_sizes

from .conftest import make_record

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    WriteBoolQ = Callable[..., Path]

WITH_TRAINING_FILE = ("boolq", "arc_easy", "arc_challenge", "openbookqa")


def boolq(data: Path, **fields: int) -> TaskSpec:
    return TaskSpec(benchmarks=("boolq",), data=str(data), **{"num_validation": 2, **fields})


def records(start: int, stop: int) -> list[dict[str, str]]:
    return [make_record(index) for index in range(start, stop)]


def test_published_files_have_their_published_sizes(commonsense: Path) -> None:
    task = load_task(TaskSpec(benchmarks=WITH_TRAINING_FILE, data=str(commonsense)))
    sizes = split_sizes(task)
    for name in WITH_TRAINING_FILE:
        published = BENCHMARKS[name].published_sizes
        assert sizes[name]["validation"] == 200
        assert sizes[name]["test"] == published["test"]
        in_train_file = sizes[name]["train"] + sizes[name]["validation"] + sizes[name]["left_out"]
        assert in_train_file == published["train"]
    # Two questions of ARC-Easy's training file are in its test file as well.
    assert sizes["arc_easy"] == {"train": 2049, "validation": 200, "test": 2376, "left_out": 2}
    assert {name: BENCHMARKS[name].published_sizes for name in WITH_TRAINING_FILE} == {
        "boolq": {"train": 9_427, "test": 3_270},
        "arc_easy": {"train": 2_251, "test": 2_376},
        "arc_challenge": {"train": 1_119, "test": 1_172},
        "openbookqa": {"train": 4_957, "test": 500},
    }


@pytest.mark.parametrize("name", ["siqa", "winogrande"])
def test_published_test_sizes_without_training_file(commonsense: Path, name: str) -> None:
    held = json.loads((commonsense / name / "test.json").read_text())
    assert len(held) == BENCHMARKS[name].published_sizes["test"]


def test_splits_of_published_files_share_no_question(commonsense: Path) -> None:
    task = load_task(TaskSpec(benchmarks=WITH_TRAINING_FILE, data=str(commonsense)))
    for benchmark in task.benchmarks:
        train, validation, test = (
            {" ".join(example.instruction.lower().split()) for example in split}
            for split in (benchmark.train, benchmark.validation, benchmark.test())
        )
        assert not train & validation
        assert not train & test
        assert not validation & test


def test_test_split_is_read_when_asked(write_boolq: WriteBoolQ) -> None:
    data = write_boolq(train=records(0, 10), test=records(10, 13))
    (benchmark,) = load_task(boolq(data)).benchmarks
    assert benchmark.num_test == 3
    assert set(benchmark.test()) == {Example(**record) for record in records(10, 13)}
    (data / "boolq" / "test.json").unlink()
    with pytest.raises(ValueError, match=re.escape("test.json: cannot be read: No such file")):
        benchmark.test()


def test_limits(write_boolq: WriteBoolQ) -> None:
    data = write_boolq(train=records(0, 10), test=records(10, 20))
    task = load_task(boolq(data, num_train=5, num_test=4))
    assert split_sizes(task)["boolq"] == {"train": 5, "validation": 2, "test": 4, "left_out": 0}
    assert len(task.benchmarks[0].test()) == 4


def test_validation_file_is_used_where_there_is_one(write_boolq: WriteBoolQ) -> None:
    data = write_boolq(train=records(0, 10), validation=records(8, 14))
    (benchmark,) = load_task(boolq(data, num_validation=6)).benchmarks
    assert set(benchmark.validation) == {Example(**record) for record in records(8, 14)}
    assert set(benchmark.train) == {Example(**record) for record in records(0, 8)}
    assert benchmark.num_left_out == 2
    assert (benchmark.num_test, benchmark.test()) == (0, ())


def test_json_lines_and_extra_fields(write_boolq: WriteBoolQ) -> None:
    data = write_boolq(test=records(10, 12))
    # U+2028 ends a line for str.splitlines, but not in a JSON Lines file.
    lines = [{**make_record(index), "input": "a\u2028b", "extra": 1} for index in range(10)]
    (data / "boolq" / "train.jsonl").write_text(
        "\n".join(json.dumps(line, ensure_ascii=False) for line in lines) + "\n\n",
        encoding="utf-8",
    )
    (benchmark,) = load_task(boolq(data)).benchmarks
    assert len(benchmark.train) == 8
    assert all(example.input == "a\u2028b" for example in benchmark.train)


def test_folder_names_of_llm_adapters(tmp_path: Path) -> None:
    for start, name in enumerate(("ARC-Easy", "social_i_qa")):
        answers = [make_record(100 * start + index, answer="answer1") for index in range(10)]
        (tmp_path / name).mkdir()
        (tmp_path / name / "train.json").write_text(json.dumps(answers))
    task = load_task(
        TaskSpec(benchmarks=("arc_easy", "siqa"), data=str(tmp_path), num_validation=2)
    )
    assert [len(benchmark.train) for benchmark in task.benchmarks] == [8, 8]


def test_training_examples_come_with_their_benchmark() -> None:
    task = load_task(
        TaskSpec(benchmarks=("builtin_math", "builtin_code"), num_train=3, num_validation=2)
    )
    pairs = task.training_examples()
    assert [benchmark.name for benchmark, _ in pairs] == ["builtin_math"] * 3 + ["builtin_code"] * 3
    assert tuple(example for _, example in pairs[:3]) == task.benchmarks[0].train


def test_builtin_sizes_are_within_what_can_be_generated() -> None:
    for name in BUILTIN_BENCHMARKS:
        assert BENCHMARKS[name].is_builtin
        assert max(BENCHMARKS[name].published_sizes.values()) <= MAX_EXAMPLES
    task = load_task(TaskSpec(num_validation=20, num_test=5))
    assert split_sizes(task)["builtin_choice"] == {
        "train": 2000,
        "validation": 20,
        "test": 5,
        "left_out": 0,
    }
    assert [len(benchmark.test()) for benchmark in task.benchmarks] == [5, 5, 5]


def test_digests_tell_data_and_order_apart(write_boolq: WriteBoolQ) -> None:
    data = write_boolq(train=records(0, 10))
    before = load_task(boolq(data))
    assert sorted(before.digests) == ["boolq/train", "boolq/validation"]
    assert load_task(boolq(data)).digests == before.digests
    assert (
        load_task(boolq(data, num_train=7)).digests["boolq/train"]
        != (before.digests["boolq/train"])
    )
    train = before.benchmarks[0].train
    assert split_digest(train) == before.digests["boolq/train"]
    assert split_digest(reversed(train)) != split_digest(train)


def test_a_task_can_be_sent_to_a_worker(write_boolq: WriteBoolQ) -> None:
    task = load_task(boolq(write_boolq(train=records(0, 10), test=records(10, 12))))
    received = pickle.loads(pickle.dumps(task))
    assert received == task
    assert received.benchmarks[0].test() == task.benchmarks[0].test()
