"""A search by the likelihood of references is refused where the examples have none."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from droplora_sweep.plan.requirements import check_references
from droplora_sweep.spec import SweepSpec, TaskSpec
from droplora_sweep.tasks.loading import load_task

if TYPE_CHECKING:
    from droplora_sweep.tasks.task import Task


@pytest.fixture(scope="module")
def task() -> Task:
    """One benchmark with references, and one without."""
    names = ("builtin_choice", "builtin_math")
    found = load_task(TaskSpec(benchmarks=names, num_train=1, num_validation=2, num_test=1))
    choice, math = found.benchmarks
    blank = tuple(replace(one, output=" ") for one in math.validation)
    return replace(found, benchmarks=(choice, replace(math, validation=blank)))


def faults(metric: str, task: Task) -> list[str]:
    sweep = SweepSpec.model_validate(
        {"name": "s", "evaluation": {"likelihood": True}, "search": {"metric": metric}}
    )
    return [f"{one.field}: {one.problem}" for one in check_references(sweep, task)]


@pytest.mark.parametrize(
    "metric", ["val/builtin_math", "bits_per_byte/val/builtin_choice", "bits_per_byte/val/mean"]
)
def test_any_benchmark_with_references_will_do(metric: str, task: Task) -> None:
    assert faults(metric, task) == []


def test_a_benchmark_without_references_is_named(task: Task) -> None:
    assert faults("bits_per_byte/val/builtin_math", task) == [
        "search.metric: must be of a benchmark whose examples have reference responses, got "
        "'bits_per_byte/val/builtin_math'; val/builtin_math follows the score"
    ]
    without = replace(task, benchmarks=task.benchmarks[1:])
    assert len(faults("bits_per_byte/val/mean", without)) == 1
