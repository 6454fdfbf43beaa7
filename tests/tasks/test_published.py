"""Every published file loads as its publishers made it, and every gold answer can be reached."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from droplora_sweep.errors import InputError
from droplora_sweep.spec import TaskSpec
from droplora_sweep.tasks import Example, Task, code_preamble, load_task, split_sizes
from droplora_sweep.tasks.formats import CODE_PROMPT, boxed_answer

if TYPE_CHECKING:
    from pathlib import Path


def load(**fields: Any) -> Task:
    return load_task(TaskSpec.model_validate(fields))


@pytest.fixture(scope="session")
def published(commonsense: Path) -> Path:
    return commonsense.parent


def test_gsm8k_as_released(published: Path) -> None:
    task = load(benchmarks=["gsm8k"], data=str(published / "math"))
    (gsm8k,) = task.benchmarks

    sizes = split_sizes(task)["gsm8k"]
    assert sizes["test"] == 1319
    assert sizes["train"] + sizes["validation"] + sizes["left_out"] == 7473
    assert task.notes == ()
    assert gsm8k.prompt_suffix == " Let's think step by step."
    for example in (*gsm8k.train, *gsm8k.validation, *gsm8k.test()):
        assert example.output.endswith(f"\nThe answer is: {example.answer}")
        assert "<<" not in example.output
        float(example.answer)


def test_gsm8k_of_llm_adapters_has_the_same_answers(published: Path) -> None:
    adapters = {"gsm8k": {"data": str(published / "math/gsm8k/test.json"), "split": "test"}}
    mixture = {"name": "math_data", "data": str(published / "math/math_data/train.json")}
    task = load(benchmarks=adapters, train=mixture, on_bad_record="skip")
    (one,) = task.benchmarks
    (two,) = load(benchmarks=["gsm8k"], data=str(published / "math")).benchmarks

    assert split_sizes(task)["gsm8k"] == {
        "train": 0,
        "validation": 200,
        "test": 1319,
        "left_out": 0,
    }
    assert task.mixture is not None
    assert len(task.mixture.train) + task.mixture.num_left_out == 3257
    (note,) = task.notes
    assert "math_data/train.json: 3 bad records are left out, the first: " in note
    assert sorted(float(example.answer) for example in one.test()) == sorted(
        float(example.answer) for example in two.test()
    )


def code_task(published: Path) -> Task:
    return load(benchmarks=["mbpp", "humaneval"], data=str(published / "code"), num_validation=80)


def test_code_benchmarks(published: Path) -> None:
    task = code_task(published)
    mbpp, humaneval = task.benchmarks

    assert split_sizes(task) == {
        "mbpp": {"train": 374, "validation": 80, "test": 500, "left_out": 0},
        "humaneval": {"train": 0, "validation": 0, "test": 164, "left_out": 0},
    }
    assert task.notes == ("humaneval: is tested but not validated: it has no other examples",)
    ids = {int((one.id or "").removeprefix("MBPP/")) for one in mbpp.test()}
    assert ids == set(range(11, 511))
    first = next(one for one in humaneval.test() if one.id == "HumanEval/0")
    assert first.instruction.startswith(CODE_PROMPT + "from typing import List")
    assert first.answer.endswith("\n\ncheck(has_close_elements)")
    assert code_preamble(first) == first.instruction.removeprefix(CODE_PROMPT)
    assert code_preamble(mbpp.test()[0]) == ""


@pytest.mark.slow
def test_canonical_solutions_pass_their_tests(published: Path) -> None:
    examples = [one for benchmark in code_task(published).benchmarks for one in benchmark.test()]
    programs = [
        code_preamble(one)
        + "\n"
        + one.output.removeprefix("```python\n").removesuffix("\n```")
        + "\n\n"
        + one.answer
        for one in examples
    ]
    run_all = (
        "import json, sys\n"
        "passed = 0\n"
        "for program in json.load(sys.stdin):\n"
        "    exec(program, {'__name__': 'program'})\n"
        "    passed += 1\n"
        "sys.stderr.write(str(passed))\n"
    )

    result = subprocess.run(
        [sys.executable, "-c", run_all],
        input=json.dumps(programs),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )

    assert result.stderr.splitlines()[-1] == str(len(programs)) == "664"


def test_mt_bench(published: Path) -> None:
    task = load(
        benchmarks=["mt_bench", "builtin_math"],
        data=str(published / "conversation"),
        num_validation=5,
        num_train=5,
    )
    mt_bench = task.benchmarks[0]

    assert (mt_bench.scoring, mt_bench.num_test, mt_bench.validation) == ("judge", 80, ())
    for example in mt_bench.test():
        assert len(example.turns) == 2
        assert example.instruction == example.turns[0]
        assert example.answer == "" or len(json.loads(example.answer)) == 2
    assert {one.category for one in mt_bench.test()} >= {"math", "coding", "writing"}


def test_test_digests_are_stable_and_overlaps_counted(published: Path) -> None:
    fields = {"benchmarks": ["arc_easy"], "data": str(published / "commonsense")}
    task = load(**fields)

    assert sorted(task.all_digests()) == ["arc_easy/test", "arc_easy/train", "arc_easy/validation"]
    assert load(**fields).all_digests() == task.all_digests()
    assert task.digests.items() <= task.all_digests().items()
    (overlap,) = task.overlaps
    assert (overlap.split, overlap.other) == ("arc_easy/train", "arc_easy/test")
    assert overlap.num_exact + overlap.num_normalised == 2
    with pytest.raises(InputError) as raised:
        load(**fields, on_overlap="refuse")
    assert str(raised.value) == (
        "task.on_overlap: must be drop where splits share examples, got refuse: arc_easy/train "
        f"shares 2 with arc_easy/test, {overlap.num_exact} of them exactly"
    )


def test_the_digest_of_an_example_without_new_fields_is_what_it_was() -> None:
    example = Example("a", "", "b", "c")

    assert example.digest == "251741ce0afe3631"
    assert replace(example, id="1").digest != example.digest
    assert replace(example, turns=("a", "b")).digest != example.digest


@pytest.mark.parametrize(
    ("solution", "answer"),
    [
        (r"\boxed{1} then \boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"$\boxed 5$", "5"),
        (r"\fbox{7}", "7"),
        ("no box", None),
        (r"\boxed{open", None),
    ],
)
def test_boxed_answers(solution: str, answer: str | None) -> None:
    assert boxed_answer(solution) == answer
