"""The record of the untrained model's results, and its lines for users."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from droplora_sweep.evaluation.results import ExampleResult
from droplora_sweep.ledger.writer import LedgerWriter
from droplora_sweep.run.references import recorded, reference_line
from droplora_sweep.spec import SweepSpec, TaskSpec
from droplora_sweep.tasks.builtin.questions import NUM_OPTIONS
from droplora_sweep.tasks.loading import load_task

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from droplora_sweep.tasks.task import Task

BENCHMARKS = ("builtin_choice", "builtin_math")


@pytest.fixture(scope="module")
def task() -> Task:
    return load_task(TaskSpec(benchmarks=BENCHMARKS, num_train=8, num_validation=24, num_test=12))


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[LedgerWriter]:
    sweep = SweepSpec(name="s", task=TaskSpec(benchmarks=BENCHMARKS))
    writer = LedgerWriter.create(tmp_path, sweep)
    yield writer
    writer.close()


def results(task: Task, split: str = "validation", num_left_out: int = 0) -> list[ExampleResult]:
    """The first answer of each benchmark is right, the others cannot be read."""
    return [
        ExampleResult(one.name, each.digest, "", None, each.answer, index == 0, 1)
        for one in task.benchmarks
        for index, each in enumerate(one.examples(split)[num_left_out:])
    ]


@pytest.mark.parametrize("split", ["validation", "test"])
def test_each_split_is_recorded_with_its_own_answers(
    task: Task, ledger: LedgerWriter, split: str
) -> None:
    reference = recorded(ledger, task, split, results(task, split))
    choice = task.benchmarks[0].examples(split)
    counts = Counter(example.answer for example in choice)
    answer, share = reference.most_frequent["builtin_choice"]
    assert counts[answer] == max(counts.values())
    assert share == counts[answer] / len(choice)
    assert reference.untrained["builtin_choice"] == 1 / len(choice)
    # The examples list their options, and numbers are no closed set.
    assert reference.chance == {"builtin_choice": pytest.approx(1 / NUM_OPTIONS)}
    assert "builtin_math" not in reference.most_frequent
    assert reference.untrained["builtin_math"] == pytest.approx(1 / len(choice))


def test_examples_that_were_not_scored_do_not_count(task: Task, ledger: LedgerWriter) -> None:
    reference = recorded(ledger, task, "validation", results(task, num_left_out=20))
    counts = Counter(example.answer for example in task.benchmarks[0].validation[20:])
    answer, share = reference.most_frequent["builtin_choice"]
    assert share == counts[answer] / 4


def test_the_line_names_what_has_to_be_beaten(task: Task, ledger: LedgerWriter) -> None:
    reference = recorded(ledger, task, "validation", results(task))
    answer, share = reference.most_frequent["builtin_choice"]
    assert reference_line(reference) == (
        f"untrained model, validation examples: builtin_choice 4.2% (always '{answer}' "
        f"{share:.1%}, chance {1 / NUM_OPTIONS:.1%}), builtin_math 4.2%"
    )
