"""A response is judged by its benchmark's scoring, and scores are the paper's averages."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from droplora_sweep.evaluation import Answer, ExampleResult, judge, score
from droplora_sweep.spec import TaskSpec
from droplora_sweep.tasks import BENCHMARKS, load_task
from droplora_sweep.tasks.reading import read_examples

if TYPE_CHECKING:
    from pathlib import Path

    from droplora_sweep.tasks import Benchmark, Task


@pytest.fixture(scope="module")
def task() -> Task:
    return load_task(TaskSpec(num_train=50, num_validation=50))


def result(benchmark: str, correct: bool) -> ExampleResult:
    return ExampleResult(benchmark, "id", "", None, "", correct, 1)


def test_every_gold_output_of_the_builtin_benchmarks_is_right(task: Task) -> None:
    for benchmark in task.benchmarks:
        examples = benchmark.train + benchmark.validation
        answers = judge(
            benchmark,
            [example.output for example in examples],
            [example.answer for example in examples],
        )
        assert all(answer.correct for answer in answers)


@pytest.mark.parametrize(
    ("name", "split"),
    [
        *((name, "train") for name in ("boolq", "arc_easy", "arc_challenge", "openbookqa")),
        *((name, "test") for name in ("boolq", "arc_easy", "arc_challenge", "openbookqa")),
        ("siqa", "test"),
        ("winogrande", "test"),
    ],
)
def test_every_gold_output_of_the_published_files_is_right(
    commonsense: Path, task: Task, name: str, split: str
) -> None:
    entry = BENCHMARKS[name]
    examples = read_examples(commonsense / name / f"{split}.json", entry)
    benchmark = _with_scoring_of(task, name)
    answers = judge(
        benchmark, [example.output for example in examples], [e.answer for e in examples]
    )
    assert all(answer.correct for answer in answers)


def _with_scoring_of(task: Task, name: str) -> Benchmark:
    entry = BENCHMARKS[name]
    return replace(task.benchmarks[0], name=name, scoring=entry.scoring, options=entry.options)


def test_choice(task: Task) -> None:
    responses = ["the correct answer is answer2", "answer1, not answer2", "two"]
    assert judge(task.benchmarks[0], responses, ["answer2"] * 3) == [
        Answer("answer2", correct=True),
        Answer("answer1", correct=False),
        Answer(None, correct=False),
    ]


def test_numbers_are_compared_as_numbers(task: Task) -> None:
    responses = ["The answer is: 72", "The answer is: 72.0", "The answer is: 7", "72"]
    assert judge(task.benchmarks[1], responses, ["72.0"] * 4) == [
        Answer("72", correct=True),
        Answer("72", correct=True),
        Answer("7", correct=False),
        Answer(None, correct=False),
    ]


def test_code_must_pass_its_tests(task: Task) -> None:
    right, wrong = "def f(x):\n    return x + 1", "def f(x):\n    return x"
    responses = [f"```python\n{right}\n```", f"```python\n{wrong}\n```", right]
    assert judge(task.benchmarks[2], responses, ["assert f(1) == 2"] * 3) == [
        Answer(right, correct=True),
        Answer(wrong, correct=False),
        Answer(None, correct=False),
    ]


def test_the_mean_weighs_benchmarks_and_not_examples() -> None:
    results = [result("large", True)] * 9 + [result("large", False)] + [result("small", False)]
    assert score(results) == {"large": 0.9, "small": 0.0, "mean": 0.45}
    assert score(reversed(results)) == score(results)


def test_scoring_needs_no_torch() -> None:
    script = (
        "import sys, droplora_sweep.evaluation, droplora_sweep.tasks\n"
        "assert not {'torch', 'transformers', 'huggingface_hub'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
