"""The published sizes of a task are those of its real files."""

from __future__ import annotations

import pytest

from droplora_sweep.spec import TaskSpec, TrainSpec
from droplora_sweep.tasks.entries import published_task


def test_validation_is_cut_from_the_training_file() -> None:
    task = published_task(TaskSpec(benchmarks=("boolq", "openbookqa"), num_validation=200))

    assert task is not None
    assert task.splits == {
        "boolq": {"train": 9_227, "validation": 200, "test": 3_270},
        "openbookqa": {"train": 4_757, "validation": 200, "test": 500},
    }
    assert task.num_training_examples == 9_227 + 4_757


def test_a_validation_file_leaves_the_training_file_whole() -> None:
    task = published_task(TaskSpec(benchmarks=("mbpp",), num_validation=200, num_test=100))

    assert task is not None
    assert task.splits == {"mbpp": {"train": 374, "validation": 90, "test": 100}}


def test_with_a_mixture_the_benchmarks_own_files_validate() -> None:
    task = published_task(
        TaskSpec(
            benchmarks=("humaneval", "mbpp"),
            train=TrainSpec(name="codefeedback_python"),
            num_validation=400,
        )
    )

    assert task is not None
    assert task.splits == {
        "humaneval": {"train": 0, "validation": 0, "test": 164},
        "mbpp": {"train": 0, "validation": 400, "test": 500},
        "codefeedback_python": {"train": 104_848},
    }


def test_what_has_no_file_of_its_own_is_cut_from_the_mixture() -> None:
    task = published_task(
        TaskSpec(benchmarks=("mt_bench",), train=TrainSpec(name="evol_instruct"), num_validation=80)
    )

    assert task is not None
    assert task.splits["evol_instruct"] == {"train": 142_920}
    assert (task.num_training_examples, task.num_judged) == (142_920, 80)


def test_both_sets_of_mbpp_and_both_protocols_of_mt_bench_are_known() -> None:
    names = ("mbpp", "mbpp_evalplus", "mt_bench", "mt_bench_first_turn")
    task = published_task(TaskSpec(benchmarks=names))

    assert task is not None
    assert {name: sizes["test"] for name, sizes in task.splits.items()} == {
        "mbpp": 500,
        "mbpp_evalplus": 378,
        "mt_bench": 80,
        "mt_bench_first_turn": 80,
    }


def test_limits_hold() -> None:
    task = published_task(TaskSpec(benchmarks=("gsm8k",), num_train=100, num_test=7))

    assert task is not None
    assert task.splits["gsm8k"] == {"train": 100, "validation": 200, "test": 7}


@pytest.mark.parametrize(
    "spec",
    [
        TaskSpec(),
        TaskSpec(benchmarks=("boolq",), data="folder"),
        TaskSpec(benchmarks=("boolq",), train=TrainSpec(name="my_mixture")),
        TaskSpec(benchmarks=("capitals",), scoring="exact"),
        TaskSpec(benchmarks=("builtin_choice", "boolq")),
    ],
    ids=["built in", "data given", "unknown mixture", "unknown benchmark", "some built in"],
)
def test_other_tasks_are_read_or_refused(spec: TaskSpec) -> None:
    assert published_task(spec) is None
