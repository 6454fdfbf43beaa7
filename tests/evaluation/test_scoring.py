"""A response is judged by its benchmark's scoring, and scores are the paper's averages."""

from __future__ import annotations

import gzip
import json
import math
import random
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from droplora_sweep.evaluation.results import (
    Agreement,
    ExampleResult,
    agreement,
    count_unparsable,
    score,
)
from droplora_sweep.scorers.scorer import Answer
from droplora_sweep.scorers.table import make_scorer
from droplora_sweep.spec import TaskSpec
from droplora_sweep.tasks.loading import load_task
from droplora_sweep.tasks.reading import read_examples
from droplora_sweep.tasks.registry import BENCHMARKS

if TYPE_CHECKING:
    from pathlib import Path

    from droplora_sweep.spec.evaluation import ProtocolName
    from droplora_sweep.tasks.task import Benchmark, Task


@pytest.fixture(scope="module")
def task() -> Task:
    return load_task(TaskSpec(num_train=50, num_validation=50))


def result(benchmark: str, correct: bool) -> ExampleResult:
    return ExampleResult(benchmark, "id", "", None, "", correct, 1)


@pytest.mark.parametrize("protocol", ["paper", "strict"])
def test_every_gold_output_of_the_builtin_benchmarks_is_right(
    task: Task, protocol: ProtocolName
) -> None:
    for benchmark in task.benchmarks:
        examples = benchmark.train + benchmark.validation
        answers = benchmark.scorer.read_all(
            [example.output for example in examples],
            [example.answer for example in examples],
            protocol=protocol,
            allow_unsandboxed_code=True,
        )
        assert all(answer.correct for answer in answers)


@pytest.mark.parametrize("protocol", ["paper", "strict"])
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
    commonsense: Path, task: Task, name: str, split: str, protocol: ProtocolName
) -> None:
    entry = BENCHMARKS[name]
    examples = read_examples(commonsense / name / f"{split}.json", entry)
    benchmark = _with_scoring_of(task, name)
    golds = [example.answer for example in examples]
    outputs = [example.output for example in examples]
    answers = benchmark.scorer.read_all(outputs, golds, protocol)
    assert all(answer.correct for answer in answers)

    # Outputs of other examples are right by chance alone: as often as two golds are the same.
    chance = sum((count / len(golds)) ** 2 for count in Counter(golds).values())
    random.Random(0).shuffle(outputs)
    shuffled = benchmark.scorer.read_all(outputs, golds, protocol=protocol)
    accuracy = sum(answer.correct for answer in shuffled) / len(golds)
    assert abs(accuracy - chance) < 5 * math.sqrt(chance * (1 - chance) / len(golds))


@pytest.mark.parametrize("protocol", ["paper", pytest.param("strict", marks=pytest.mark.slow)])
def test_every_gold_number_of_gsm8k_is_right_and_few_shuffled_ones_are(
    commonsense: Path, task: Task, protocol: ProtocolName
) -> None:
    file = commonsense.parent / "math" / "gsm8k_original" / "test.jsonl"
    records = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    splits = [record["answer"].split("\n#### ") for record in records]
    golds = [gold.replace(",", "") for _, gold in splits]
    outputs = [f"{reasoning}\nThe answer is: {gold}" for reasoning, gold in splits]
    benchmark = task.benchmarks[1]
    answers = benchmark.scorer.read_all(outputs, golds, protocol=protocol)
    # The paper's rule stops at a number's second comma.
    wrong = [gold for answer, gold in zip(answers, golds, strict=True) if not answer.correct]
    assert all(float(gold) >= 1e6 for gold in wrong)
    assert protocol == "paper" or not wrong

    shuffled = golds[1:] + golds[:1]
    answers = benchmark.scorer.read_all(outputs, shuffled, protocol)
    accuracy = sum(one.correct for one in answers)
    assert accuracy / len(golds) < 0.05


def _with_scoring_of(task: Task, name: str) -> Benchmark:
    entry = BENCHMARKS[name]
    return replace(task.benchmarks[0], name=name, scorer=entry.scorer)


def test_choice(task: Task) -> None:
    responses = ["the correct answer is answer2", "answer1, not answer2", "two"]
    assert task.benchmarks[0].scorer.read_all(responses, ["answer2"] * 3) == [
        Answer("answer2", correct=True),
        Answer("answer1", correct=False),
        Answer(None, correct=False),
    ]


def test_numbers_are_compared_as_numbers(task: Task) -> None:
    responses = ["The answer is: 72", "The answer is: 72.0", "The answer is: 7", "72"]
    assert task.benchmarks[1].scorer.read_all(responses, ["72.0"] * 4) == [
        Answer("72", correct=True),
        Answer("72", correct=True),
        Answer("7", correct=False),
        Answer(None, correct=False),
    ]


def test_code_must_pass_its_tests(task: Task) -> None:
    right, wrong = "def f(x):\n    return x + 1", "def f(x):\n    return x"
    responses = [f"```python\n{right}\n```", f"```python\n{wrong}\n```", ""]
    answers = task.benchmarks[2].scorer.read_all(
        responses, ["assert f(1) == 2"] * 3, allow_unsandboxed_code=True
    )
    assert answers == [
        Answer(right, correct=True),
        Answer(wrong, correct=False),
        Answer(None, correct=False),
    ]


def test_the_indented_body_of_a_function_continues_its_prompt(benchmark_files: Path) -> None:
    """As HumanEval's own solutions do; the protocol cuts what follows the word "assert"."""
    file = benchmark_files / "code" / "humaneval" / "HumanEval.jsonl.gz"
    records = [json.loads(line) for line in gzip.decompress(file.read_bytes()).splitlines()]
    whole = [one for one in records if "assert" not in one["canonical_solution"]]
    assert len(whole) >= 160
    answers = make_scorer("code").read_all(
        [one["canonical_solution"] for one in whole],
        [f"{one['test']}\ncheck({one['entry_point']})" for one in whole],
        preambles=[one["prompt"] for one in whole],
        allow_unsandboxed_code=True,
    )
    wrong = [
        one["task_id"] for one, answer in zip(whole, answers, strict=True) if not answer.correct
    ]
    assert wrong == []


def test_the_mean_weighs_benchmarks_and_not_examples() -> None:
    results = [result("large", True)] * 9 + [result("large", False)] + [result("small", False)]
    assert score(results) == {"large": 0.9, "small": 0.0, "mean": 0.45}
    assert score(reversed(results)) == score(results)


def test_a_response_that_is_right_in_part_gets_its_credit() -> None:
    part = replace(result("b", False), credit=0.25)
    assert part.score == 0.25
    assert score([part, replace(result("b", True), example_id="2")])["b"] == 0.625


def predicted(example_id: str, prediction: str | None) -> ExampleResult:
    return replace(result("b", False), example_id=example_id, prediction=prediction)


def test_unparsable_responses_are_counted() -> None:
    results = [predicted("1", "a"), predicted("2", None), predicted("3", None)]
    assert count_unparsable([*results, replace(results[0], benchmark="a")]) == {"a": 0, "b": 2}


def test_agreement_is_of_the_examples_that_both_could_read() -> None:
    some = [predicted(str(index), one) for index, one in enumerate(["a", "b", "b", None, "c"])]
    others = [predicted(str(index), one) for index, one in enumerate(["a", "b", "a", "a"])]
    assert agreement(some, others) == {"b": Agreement(4, 2, 1)}
    assert agreement(some, others)["b"].fraction == 2 / 3
    assert Agreement(1, 0, 1).fraction is None


def test_scoring_needs_no_torch() -> None:
    script = (
        "import sys, droplora_sweep.evaluation, droplora_sweep.tasks\n"
        "heavy = {'torch', 'transformers', 'huggingface_hub', 'math_verify', 'sympy'}\n"
        "assert not heavy & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
