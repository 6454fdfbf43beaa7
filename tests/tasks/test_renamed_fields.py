"""``fields`` names a record's own fields whatever its format; what has no place is refused."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from droplora_sweep.tasks.formats import FORMATS

from .conftest import load, make_record, refusal
from .test_conversations import openai, sharegpt

if TYPE_CHECKING:
    from pathlib import Path

    from droplora_sweep.tasks.task import Task

RECORDS: dict[str, dict[str, Any]] = {
    "gsm8k": {"question": "1+1?", "answer": "It is 2.\n#### 2"},
    "math": {"problem": "1+1?", "solution": r"It is $\boxed{2}$.", "type": "Algebra"},
    "metamathqa": {"query": "1+1?", "response": "The answer is: 2", "type": "GSM_Rephrased"},
    "codefeedback_python": {"query": "Add.", "answer": "x + y", "lang": "python"},
    "evol_instruct": sharegpt("1+1?", "2"),
    "sharegpt": sharegpt("1+1?", "2"),
    "messages": openai("1+1?", "2"),
    "humaneval": {
        "task_id": "HumanEval/0",
        "prompt": "def add(x, y):\n",
        "entry_point": "add",
        "canonical_solution": "    return x + y\n",
        "test": "def check(add):\n    assert add(1, 2) == 3\n",
    },
    "mbpp": {
        "task_id": 601,
        "text": "Add.",
        "code": "def add(x, y):\n    return x + y",
        "test_list": ["assert add(1, 2) == 3"],
    },
    "mbpp_evalplus": {
        "task_id": "Mbpp/601",
        "prompt": '"""\nAdd.\n"""\n',
        "canonical_solution": "def add(x, y):\n    return x + y",
        "assertion": "assert add(1, 2) == 3",
    },
    "mbpp_plus": {
        "task_id": 601,
        "prompt": "Add.",
        "code": "def add(x, y):\n    return x + y",
        "test_list": ["assert add(1, 2) == 3"],
    },
    "mt_bench_first_turn": {"question_id": 81, "turns": ["Hi!", "And?"], "category": "writing"},
    "mt_bench": {"question_id": 81, "turns": ["Hi!", "And?"], "reference": ["a", "b"]},
}


def read(tmp_path: Path, record: dict[str, Any], layout: str, **spec: Any) -> Task:
    file = tmp_path / "x.jsonl"
    file.write_text(json.dumps(record))
    train = {"name": "mix", "data": str(file), "format": layout, **spec}
    return load(benchmarks=["builtin_choice"], train=train)


def test_every_format_is_tried() -> None:
    assert RECORDS.keys() | {"llm_adapters", "alpaca"} == FORMATS.keys()


@pytest.mark.parametrize(("layout", "record"), RECORDS.items(), ids=RECORDS.keys())
def test_a_format_with_names_of_ones_own(
    tmp_path: Path, layout: str, record: dict[str, Any]
) -> None:
    plain = read(tmp_path, record, layout).mixture
    roles = FORMATS[layout].roles
    new = {own: f"my_{role}" for role, own in roles.items()}
    mine = {new.get(name, name): value for name, value in record.items()}
    # A field of the usual name that means something else is not read.
    mine |= dict.fromkeys(new, "something else")
    fields = {role: new[own] for role, own in roles.items()}
    renamed = read(tmp_path, mine, layout, fields=fields).mixture
    assert plain is not None
    assert renamed is not None
    assert renamed.train == plain.train
    if "instruction" in fields:
        del mine[fields["instruction"]]
        with pytest.raises(Exception, match=f":1: {fields['instruction']}: is missing"):
            read(tmp_path, mine, layout, fields=fields)


def test_a_fault_calls_a_field_what_the_file_calls_it(tmp_path: Path) -> None:
    record = {"number": 601, "task": "Add.", "code": "x", "tests": []}
    fields = {"instruction": "task", "answer": "tests", "id": "number"}
    for changes, problem in (
        ({}, "tests: must not be empty"),
        ({"task": None}, "task: must be text, got null"),
        ({"number": "1"}, 'number: must be an integer, got "1"'),
        ({"tests": ["assert True"], "task": "\ud83d"}, "task: must be text that UTF-8 can hold"),
    ):
        file = tmp_path / "x.jsonl"
        file.write_text(json.dumps(record | changes))
        mine = {"data": str(file), "format": "mbpp", "scoring": "code", "fields": fields}
        [line] = refusal(benchmarks={"mine": mine})
        assert line.startswith(f"task.benchmarks.mine.data: {file}:1: {problem}")


def test_a_field_that_has_no_place_in_a_format(tmp_path: Path) -> None:
    file = tmp_path / "x.jsonl"
    file.write_text(json.dumps(RECORDS["gsm8k"]))
    fields = {"instruction": "q", "input": "context", "output": "o"}
    mine = {"data": str(file), "format": "gsm8k", "scoring": "number", "fields": fields}
    rule = "must be one of instruction, answer with `format: gsm8k`"
    assert refusal(benchmarks={"mine": mine}) == [
        f"task.benchmarks.mine.fields.input: {rule}, got input",
        f"task.benchmarks.mine.fields.output: {rule}, got output",
    ]
    train = {"name": "metamathqa", "data": str(file), "fields": {"answer": "a"}}
    assert refusal(benchmarks=["builtin_choice"], train=train) == [
        "task.train.fields.answer: must be one of instruction, output with `format: metamathqa`, "
        "got answer"
    ]


def test_a_known_benchmark_takes_the_format_that_has_the_fields(tmp_path: Path) -> None:
    records = [{"question": f"{i}?", "final": str(i), "problem": "x"} for i in range(5)]
    file = tmp_path / "x.jsonl"
    file.write_text("\n".join(map(json.dumps, records)))
    math = {"data": str(file), "fields": {"instruction": "question", "answer": "final"}}
    task = load(benchmarks={"math": math})
    assert {one.answer for one in task.benchmarks[0].train} < {"0", "1", "2", "3", "4"}


def test_what_is_generated_has_no_fields() -> None:
    benchmarks = {"builtin_math": {"fields": {"instruction": "q"}}}
    assert refusal(benchmarks=benchmarks) == [
        "task.benchmarks.builtin_math.fields: must be left out for builtin_math, which is "
        "generated, got instruction"
    ]


@pytest.mark.parametrize("value", [None, "", "absent"])
def test_an_input_may_be_missing_in_any_way(tmp_path: Path, value: str | None) -> None:
    records = [make_record(index) for index in range(8)]
    for record in records[1:]:
        record["input"] = value
        if value == "absent":
            del record["input"]
    (tmp_path / "boolq").mkdir()
    (tmp_path / "boolq" / "train.json").write_text(json.dumps(records))
    (boolq,) = load(benchmarks=["boolq"], data=str(tmp_path)).benchmarks
    assert {one.input for one in (*boolq.train, *boolq.validation)} == {""}


def test_an_input_with_a_name_of_its_own_may_be_null_but_not_absent(tmp_path: Path) -> None:
    records = [{"q": f"{i}?", "context": None, "label": "a", "id": None} for i in range(5)]
    file = tmp_path / "x.jsonl"
    file.write_text("\n".join(map(json.dumps, records)))
    fields = {"instruction": "q", "input": "context", "answer": "label", "id": "id"}
    mine = {"data": str(file), "scoring": "exact", "fields": fields}
    assert {one.input for one in load(benchmarks={"mine": mine}).benchmarks[0].train} == {""}

    mine["fields"] = {**fields, "input": "contxt"}
    assert refusal(benchmarks={"mine": mine})[0] == (
        f"task.benchmarks.mine.data: {file}:1: contxt: is missing; every record needs q, contxt, "
        "label"
    )


@pytest.mark.parametrize("fields", [{}, {"instruction": "instruction", "output": "output"}])
@pytest.mark.parametrize("answer", [{}, {"answer": None}, {"answer": ""}])
def test_a_mixture_needs_no_answer(
    tmp_path: Path, answer: dict[str, Any], fields: dict[str, str]
) -> None:
    records = [
        {"instruction": f"Say {i}", "input": "", "output": f"{i}"} | answer for i in range(5)
    ]
    file = tmp_path / "alpaca.json"
    file.write_text(json.dumps(records))
    train = {"name": "alpaca", "data": str(file), "fields": fields}
    task = load(benchmarks=["builtin_choice"], train=train)
    assert task.mixture is not None
    said = {(one.output, one.answer) for one in task.mixture.train}
    assert said == {(f"{i}", "") for i in range(5)}
    own = {"data": str(file), "scoring": "exact"}
    if "answer" not in answer:
        assert refusal(benchmarks={"alpaca": own})[0].endswith(
            "answer: is missing; every record needs instruction, output, answer"
        )
