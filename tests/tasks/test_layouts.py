"""Published layouts that no file here has: small files in each format load as theirs would."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from droplora_sweep.scorers.choice import ChoiceScorer
from droplora_sweep.scorers.numeric import MathScorer
from droplora_sweep.tasks.task import Benchmark, split_sizes

from .conftest import load, make_record, refusal

if TYPE_CHECKING:
    from pathlib import Path


def write(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def write_parquet(path: Path, records: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(records), path)


def piqa(index: int) -> dict[str, str]:
    answer = f"solution{index % 2 + 1}"
    return {
        "instruction": "Please choose the correct solution to the question: how do I open jar "
        f"{index}?\n\nSolution1: Turn the lid.\n\nSolution2: Freeze it.\n\n"
        "Answer format: solution1/solution2",
        "input": "",
        "output": f"the correct answer is {answer}",
        "answer": answer,
    }


def hellaswag(index: int) -> dict[str, str]:
    answer = f"ending{index % 4 + 1}"
    endings = "\n\n".join(f"Ending{number}: she goes on {number}." for number in range(1, 5))
    return {
        "instruction": "Please choose the correct ending to complete the given sentence: Sport: "
        f"runner {index} starts.\n\n{endings}\n\nAnswer format: ending1/ending2/ending3/ending4",
        "input": "",
        "output": f"the correct answer is {answer}",
        "answer": answer,
    }


@pytest.mark.parametrize(
    ("name", "make", "options", "sizes"),
    [
        ("piqa", piqa, ("solution1", "solution2"), (16_113, 1_838)),
        ("hellaswag", hellaswag, ("ending1", "ending2", "ending3", "ending4"), (39_905, 10_042)),
    ],
)
def test_choices_of_llm_adapters(
    tmp_path: Path, name: str, make: Any, options: tuple[str, ...], sizes: tuple[int, int]
) -> None:
    write(tmp_path / name / "train.json", [make(index) for index in range(9)])
    write(tmp_path / name / "test.json", [make(index) for index in range(9, 12)])
    task = load(benchmarks=[name], data=str(tmp_path))
    (benchmark,) = task.benchmarks

    assert split_sizes(task)[name] == {"train": 7, "validation": 2, "test": 3, "left_out": 0}
    assert benchmark.scorer == ChoiceScorer(options=options)
    assert {one.answer for one in (*benchmark.train, *benchmark.validation)} == set(options)
    assert benchmark.render_prompt(benchmark.train[0]).endswith("\n\n### Response:\n")
    folder = tmp_path / name
    assert task.notes == (
        f"{folder}/train.json: has 9 train examples, {sizes[0]:,} are published",
        f"{folder}/test.json: has 3 test examples, {sizes[1]:,} are published",
    )
    write(folder / "test.json", [{**make(0), "answer": "option9"}])
    assert refusal(benchmarks=[name], data=str(tmp_path)) == [
        f"task.data: {folder}/test.json: record 1: answer: must be one of {', '.join(options)}, "
        "got 'option9'"
    ]


def math_problem(index: int) -> dict[str, str]:
    return {
        "problem": f"What is $\\frac{{{index}}}{{7}}$ of $7$?",
        "level": "Level 1",
        "type": "Algebra",
        "solution": f"It is $\\frac{{{index}}}{{7}} \\cdot 7 = \\boxed{{{index}}}$.",
    }


def check_math(math: Benchmark) -> None:
    assert (math.scorer, math.prompt_suffix) == (MathScorer(), " Let's think step by step.")
    assert len(math.train) == 4
    for example in math.train:
        assert example.output.endswith(f"\nThe answer is: {example.answer}")
        assert example.category == "Algebra"
    assert {example.answer for example in math.test()} == {"6", "7", "8"}


def test_math_as_published_has_a_file_per_problem(tmp_path: Path) -> None:
    for index in range(9):
        split = "train" if index < 6 else "test"
        write(tmp_path / "MATH" / split / "algebra" / f"{index}.json", math_problem(index))
    task = load(benchmarks=["math"], data=str(tmp_path))

    check_math(task.benchmarks[0])
    broken = tmp_path / "MATH" / "train" / "algebra" / "2.json"
    write(broken, {**math_problem(2), "solution": "It is 2."})
    assert refusal(benchmarks=["math"], data=str(tmp_path)) == [
        f"task.data: {broken}: solution: must hold its answer in `\\boxed{{}}`, got 'It is 2.'"
    ]


def test_math_in_files_of_lines(tmp_path: Path) -> None:
    for split, indices in (("train", range(6)), ("test", range(6, 9))):
        lines = [json.dumps(math_problem(index)) for index in indices]
        (tmp_path / "math").mkdir(exist_ok=True)
        (tmp_path / "math" / f"{split}.jsonl").write_text("\n".join(lines))
    check_math(load(benchmarks=["math"], data=str(tmp_path)).benchmarks[0])


@pytest.mark.parametrize("place", ["", "data"])
def test_a_folder_from_the_hub_holds_parquet_in_shards(tmp_path: Path, place: str) -> None:
    records = [make_record(index) for index in range(9)]
    folder = tmp_path / "boolq" / place
    write_parquet(folder / "train-00000-of-00002.parquet", records[:4])
    write_parquet(folder / "train-00001-of-00002.parquet", records[4:7])
    write_parquet(folder / "test-00000-of-00001.parquet", records[7:])
    task = load(benchmarks=["boolq"], data=str(tmp_path))

    assert split_sizes(task)["boolq"] == {"train": 5, "validation": 2, "test": 2, "left_out": 0}
    (folder / "train-00001-of-00002.parquet").unlink()
    (line,) = refusal(benchmarks=["boolq"], data=str(tmp_path))
    shard = folder / "train-00001-of-00002.parquet"
    assert line == f"task.data: {shard}: cannot be read: it is not there"


def test_a_mixture_in_parquet(tmp_path: Path) -> None:
    records = [
        {"idx": str(i), "conversations": [{"from": "human", "value": f"{i}?"}, reply(i)]}
        for i in range(5)
    ]
    write_parquet(tmp_path / "data" / "train-00000-of-00001.parquet", records)
    train = {"name": "evol_instruct", "data": str(tmp_path)}
    task = load(benchmarks=["builtin_math"], train=train)

    assert task.mixture is not None
    assert {one.output for one in task.mixture.train} == {f"{index}!" for index in range(5)}


def reply(index: int) -> dict[str, str]:
    return {"from": "gpt", "value": f"{index}!"}


def test_a_lone_parquet_file_and_its_bad_rows(tmp_path: Path) -> None:
    file = tmp_path / "mine.parquet"
    records = [{"instruction": f"{index}?", "answer": str(index)} for index in range(5)]
    mine = {"data": str(file), "scoring": "number"}
    fields = {"instruction": "instruction", "answer": "answer"}
    benchmarks = {"mine": {**mine, "fields": fields}}
    write_parquet(file, records)
    assert len(load(benchmarks=benchmarks).benchmarks[0].train) == 3

    write_parquet(file, [*records, {"instruction": None, "answer": "9"}, {"answer": "x"}])
    place = f"task.benchmarks.mine.data: {file}"
    assert refusal(benchmarks=benchmarks) == [
        f"{place}: row 6: instruction: must be text, got null",
        f"{place}: row 7: instruction: must be text, got null",
    ]
    assert len(load(benchmarks=benchmarks, on_bad_record="skip").benchmarks[0].train) == 3
    file.write_bytes(b"PAR1 and no more")
    (line,) = refusal(benchmarks=benchmarks)
    assert line.startswith(f"{place}: must be a parquet file: ")
    write_parquet(file, [])
    assert refusal(benchmarks=benchmarks) == [f"{place}: must hold at least one record, got none"]


def test_parquet_text_must_be_utf_8(tmp_path: Path) -> None:
    bad = pa.array([b"\xff"], pa.binary()).view(pa.string())
    pq.write_table(pa.table({"instruction": bad, "answer": bad}), tmp_path / "x.parquet")
    mine = {"data": str(tmp_path / "x.parquet"), "scoring": "exact"}
    (line,) = refusal(benchmarks={"mine": mine})
    problem = "instruction: must be UTF-8 text, got invalid start byte"
    assert line == f"task.benchmarks.mine.data: {tmp_path}/x.parquet: {problem}"
