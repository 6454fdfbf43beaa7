"""A sweep takes what it can afford: never more than the hours, and the most of what fits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from droplora_sweep.authoring.effort import (
    MIN_TRAIN,
    TRAINING_SHARE,
    affordable,
    device_hours,
    efforts,
)
from droplora_sweep.errors import InputError
from droplora_sweep.plan.costs.work import GPUS
from droplora_sweep.spec import ConfirmSpec


@given(
    run_hours=st.floats(1e-4, 100),
    hours=st.floats(0.1, 1000),
    num_devices=st.integers(1, 64),
    numbers=st.lists(st.integers(1, 5000), min_size=1, max_size=4),
)
def test_what_is_chosen_fits_into_the_hours(
    run_hours: float, hours: float, num_devices: int, numbers: list[int]
) -> None:
    room = TRAINING_SHARE * hours * num_devices
    choice = {"num_devices": num_devices, "num_benchmarks": len(numbers), "numbers": numbers}
    smallest = efforts(len(numbers))[-1].num_runs * run_hours
    kept = sum(min(number, MIN_TRAIN) for number in numbers) / sum(numbers)
    if smallest > room and (smallest * kept > room or max(numbers) <= MIN_TRAIN):
        with pytest.raises(InputError, match=r"^--hours: must be at least "):
            affordable(run_hours, hours, **choice)
        return
    effort = affordable(run_hours, hours, **choice)
    kept = 1.0
    if effort.num_train is not None:
        kept = sum(min(number, effort.num_train) for number in numbers) / sum(numbers)
        assert effort.num_train >= MIN_TRAIN
    assert effort.num_runs * run_hours * kept <= room * (1 + 1e-9)
    assert effort.hours == pytest.approx(effort.num_runs * run_hours * kept)


@pytest.mark.parametrize("num_benchmarks", [1, 2, 5])
def test_every_effort_is_a_confirmation_that_a_file_may_have(num_benchmarks: int) -> None:
    steps = efforts(num_benchmarks)
    assert [one.num_runs for one in steps] == sorted((one.num_runs for one in steps), reverse=True)
    for one in steps:
        spec = ConfirmSpec(rates=one.rates, seeds=one.seeds, max_runs=one.max_runs)
        _, most = spec.num_runs(num_benchmarks)
        assert most == one.max_runs


def test_without_known_costs_the_hours_do_not_decide() -> None:
    effort = affordable(None, 0.01, num_devices=1, num_benchmarks=1, numbers=[100])
    assert (effort.num_trials, effort.hours, effort.num_train) == (12, None, None)


def test_hours_of_a_gpu_are_those_that_a_plan_has() -> None:
    gpu = GPUS["A100-80G"]
    assert device_hours(gpu.peak_flops * 0.4 * 3600, gpu) == pytest.approx(1)
