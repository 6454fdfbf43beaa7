"""HumanEval and MBPP in every form they are published in."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from .conftest import load, refusal

if TYPE_CHECKING:
    from pathlib import Path

    from droplora_sweep.tasks.task import Benchmark

PROBLEM = {
    "prompt": 'from math import floor\n\n\ndef half(x):\n    """Half of x, without a rest."""\n',
    "entry_point": "half",
    "canonical_solution": "    return floor(x / 2)\n",
    "test": "def check(candidate):\n    assert candidate(5) == 2\n",
}


def write(path: Path, records: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(json.dumps(record) for record in records), encoding="utf-8")


def code(name: str, folder: Path) -> Benchmark:
    data = {"builtin_choice": None, name: {"data": str(folder)}}
    return load(benchmarks=data, num_train=1).benchmarks[1]


def passes(benchmark: Benchmark, response: str) -> list[bool]:
    examples = benchmark.test()
    answers = benchmark.scorer.read_all(
        [response] * len(examples),
        [example.answer for example in examples],
        preambles=[example.preamble or "" for example in examples],
        allow_unsandboxed_code=True,
    )
    return [answer.correct for answer in answers]


@pytest.mark.parametrize(
    "ids", [["HumanEval/0", "HumanEval/1"], [0, 1], ["0", "1"], ["test_0", "test_1"], [None, None]]
)
def test_a_body_continues_its_problem_whatever_the_problem_is_called(
    tmp_path: Path, ids: list[Any]
) -> None:
    records = [PROBLEM | {"task_id": one} for one in ids]
    write(tmp_path / "test.jsonl", records)
    benchmark = code("humaneval", tmp_path)
    assert sorted(str(one.id) for one in benchmark.test()) == [str(one) for one in ids]
    # The import is the problem's.
    assert passes(benchmark, "    return floor(x / 2)\n") == [True, True]
    assert passes(benchmark, "    return x / 2\n") == [False, False]


def test_a_form_without_the_function_s_name_is_refused(tmp_path: Path) -> None:
    """As HumanEval-X is published."""
    record = {name: text for name, text in PROBLEM.items() if name != "entry_point"}
    write(tmp_path / "test.jsonl", [record | {"task_id": "Python/0"}])
    data = {"builtin_choice": None, "humaneval": {"data": str(tmp_path)}}
    [line] = refusal(benchmarks=data)
    place = f"task.benchmarks.humaneval.data: {tmp_path}/test.jsonl:1"
    assert line.startswith(f"{place}: entry_point: is missing; every record needs ")


ASSERTIONS = ["assert math.floor(add(1)) == 2", "assert add(2) == 3"]
EVALPLUS = {
    "task_id": "Mbpp/601",
    "prompt": f'"""\nWrite a function to add one.\n{ASSERTIONS[0]}\n"""\n',
    "entry_point": "add",
    "canonical_solution": "\ndef add(x):\n    return x + 1\n",
    "base_input": [[1], [2]],
    "atol": 0,
    "plus_input": [[9]],
    "contract": "\n",
    "assertion": "import math\n\n" + "\n".join(ASSERTIONS) + "\n",
}
LIKE_MBPP = {
    "task_id": 601,
    "code": "\ndef add(x):\n    return x + 1\n",
    "prompt": "Write a function to add one.",
    "source_file": "x.ipynb",
    "test_imports": ["import math"],
    "test_list": ASSERTIONS,
    "test": "inputs = [[1], [2], [9]]",
}


def evalplus(folder: Path, form: str) -> None:
    if form == "EvalPlus":
        write(folder / "MbppPlus.jsonl", [EVALPLUS])
    elif form == "lines":
        write(folder / "test.jsonl", [LIKE_MBPP])
    else:
        (folder / "data").mkdir(parents=True)
        file = folder / "data" / "test-00000-of-00001.parquet"
        pq.write_table(pa.Table.from_pylist([LIKE_MBPP]), file)


@pytest.mark.parametrize("form", ["EvalPlus", "lines", "Hub"])
def test_evalplus_s_problems_are_the_same_in_both_of_its_forms(tmp_path: Path, form: str) -> None:
    evalplus(tmp_path, form)
    benchmark = code("mbpp_evalplus", tmp_path)
    [example] = benchmark.test()
    assert example.id == "MBPP/601"
    assert benchmark.render_prompt(example).endswith(
        f"\n\n\n### Instruction:\nCreate a Python script for this problem:\n"
        f'"""\nWrite a function to add one.\n{ASSERTIONS[0]}\n"""\n\n\n### Response:'
    )
    assert passes(benchmark, example.output) == [True]
    assert passes(benchmark, "def add(x):\n    return 2\n") == [False]


def test_evalplus_s_problems_are_not_chosen_on(tmp_path: Path) -> None:
    """They are some of MBPP's, in other words; the two sets' tests may share them."""
    problem = {"code": "x = 1", "test_list": ["assert x"], "test_setup_code": ""}
    records = [
        problem | {"task_id": one, "text": f"Write {one}."} for one in (11, *range(598, 606))
    ]
    write(tmp_path / "mbpp" / "mbpp.jsonl", records)
    evalplus(tmp_path / "mbpp_evalplus", "EvalPlus")
    task = load(benchmarks=["mbpp", "mbpp_evalplus"], data=str(tmp_path))
    mbpp, _ = task.benchmarks
    seen = {one.id for one in (*mbpp.train, *mbpp.validation)}
    assert (len(seen), "MBPP/601" in seen) == (6, False)
    [overlap] = task.overlaps
    assert (overlap.split, overlap.other) == ("mbpp/train", "mbpp_evalplus/test")
    assert (overlap.num_exact, overlap.num_normalised) == (0, 1)
