"""Settings of the confirmation stage, and the examples that are held out for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from droplora_sweep.errors import InputError
from droplora_sweep.spec import ConfirmSpec, SweepSpec, TaskSpec, load_sweep
from droplora_sweep.spec.fields import is_searchable

FILE = Path(__file__).parents[2] / "search_spaces/methods.yaml"


def problems(*overrides: str) -> list[str]:
    with pytest.raises(InputError) as caught:
        load_sweep(FILE, overrides)
    return [f"{fault.field}: {fault.problem}" for fault in caught.value.faults]


@pytest.mark.parametrize(
    ("confirm", "problem"),
    [
        ("{seeds: 2}", "confirm.seeds: must be in [3, 1000], got 2"),
        ("{seeds: 5, max_seeds: 4}", "confirm.max_seeds: must be at least `seeds`, 5, got 4"),
        (
            "{seeds: 3, controls: true, max_runs: 8}",
            "confirm.max_runs: must be at least 9, one rate, its control and p = 0 with "
            "`seeds: 3`, got 8",
        ),
        (
            "{seeds: 4, max_runs: 7}",
            "confirm.max_runs: must be at least 8, one rate and p = 0 with `seeds: 4`, got 7",
        ),
        ("{gpu_hours: 0}", "confirm.gpu_hours: must be greater than 0, got 0"),
        ("{rates: 0}", "confirm.rates: must be in [1, 20], got 0"),
        ("{margin: 1}", "confirm.margin: must be in [0, 1), got 1"),
        ("{examples: test}", "confirm.examples: must be 'new' or 'validation', got 'test'"),
    ],
)
def test_one_fault_is_one_line(confirm: str, problem: str) -> None:
    assert problems(f"confirm={confirm}") == [problem]


def test_a_search_is_not_scored_on_the_confirmation_split() -> None:
    assert problems("evaluation.split=confirmation") == [
        "evaluation.split: must be validation: only the confirmation stage scores the confirmation "
        "split, got 'confirmation'"
    ]
    assert not is_searchable("evaluation.split")


def test_seeds_that_are_searched_cannot_be_shared() -> None:
    assert problems("confirm={}", "search.parameters.seed={values: [1, 2]}") == [
        "search.parameters.seed: must not be searched with `confirm`, which repeats every setting "
        "with the same seeds"
    ]


def test_new_examples_are_held_back_where_they_are_needed() -> None:
    task = {"num_validation": 30}
    assert SweepSpec(name="s", task=task).task.num_confirmation is None
    assert SweepSpec(name="s", task=task, confirm={}).task.num_confirmation == 30
    assert SweepSpec(name="s", confirm=ConfirmSpec()).task.num_confirmation == 200
    given = TaskSpec(num_confirmation=7)
    assert SweepSpec(name="s", task=given, confirm={}).task.num_confirmation == 7
    again = SweepSpec(name="s", task=task, confirm={"examples": "validation"})
    assert again.task.num_confirmation is None


def test_no_seed_of_the_search_is_used_again() -> None:
    confirm = ConfirmSpec(seeds=3, max_seeds=10)
    assert confirm.looks == (3, 5, 8, 10)
    seeds = confirm.seeds_after(42)
    assert seeds == tuple(range(43, 53))
    assert confirm.seeds_after(2**31 - 1)[:2] == (0, 1)
