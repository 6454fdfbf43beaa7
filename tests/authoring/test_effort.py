"""A sweep takes what it can afford: never more than the hours, and the most of what fits."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from droplora_sweep.authoring.choices import (
    WANTED_STEPS,
    Shorter,
    Steps,
    shorter_than,
    steps_for,
)
from droplora_sweep.authoring.effort import (
    TRAINING_SHARE,
    Effort,
    affordable,
    device_hours,
    efforts,
)
from droplora_sweep.errors import InputError
from droplora_sweep.plan.costs.work import GPUS
from droplora_sweep.spec import ConfirmSpec

RUNS = {
    "run_hours": st.floats(1e-4, 100),
    "hours": st.floats(0.1, 1000),
    "num_devices": st.integers(1, 64),
    "numbers": st.lists(st.integers(1, 5000), min_size=1, max_size=9),
}


def chosen(run_hours: float, hours: float, num_devices: int, numbers: list[int]) -> Effort:
    return affordable(
        run_hours,
        hours,
        num_devices=num_devices,
        num_benchmarks=len(numbers),
        numbers=numbers,
        steps=steps_for(sum(numbers)),
    )


@given(**RUNS)
def test_what_is_chosen_fits_into_the_hours_and_learns(
    run_hours: float, hours: float, num_devices: int, numbers: list[int]
) -> None:
    room = TRAINING_SHARE * hours * num_devices
    try:
        effort = chosen(run_hours, hours, num_devices, numbers)
    except InputError:
        assert efforts(len(numbers))[-1].num_runs * run_hours > room
        return
    share = 1.0
    whole = steps_for(sum(numbers))
    if effort.shorter is not None:
        steps, num_train = effort.shorter.steps, effort.shorter.num_train
        kept = sum(min(number, num_train or number) for number in numbers)
        share = steps.epochs * kept / (whole.epochs * sum(numbers))
        assert steps.num_steps == steps.epochs * math.ceil(kept / steps.global_batch_size)
        assert steps.num_steps >= min(WANTED_STEPS, whole.num_steps)
        assert 4 <= steps.global_batch_size <= whole.global_batch_size
    assert effort.num_runs * run_hours * share <= room * (1 + 1e-9)
    assert effort.hours == pytest.approx(effort.num_runs * run_hours * share)


@given(**RUNS)
def test_hours_that_a_refusal_asks_for_are_enough(
    run_hours: float, hours: float, num_devices: int, numbers: list[int]
) -> None:
    try:
        chosen(run_hours, hours, num_devices, numbers)
    except InputError as error:
        found = re.fullmatch(r"--hours: must be at least (\S+), which .*", str(error))
        assert found is not None
        least = float(found[1])
        assert least > hours
        chosen(run_hours, least, num_devices, numbers)


def test_a_trial_keeps_its_steps_with_a_smaller_batch() -> None:
    """240 examples in batches of 8 for a third and an eighth of the time that they would take."""
    whole = steps_for(240)
    assert (whole.global_batch_size, whole.num_steps) == (8, 90)
    assert shorter_than(whole, [240], 0.5) == Shorter(120, Steps(4, 3, 90), 0.5)
    assert shorter_than(whole, [240], 0.34) == Shorter(81, Steps(4, 3, 63), 81 / 240)
    assert shorter_than(whole, [240], 0.125) is None


@pytest.mark.parametrize("num_benchmarks", [1, 2, 5])
def test_every_effort_is_a_confirmation_that_a_file_may_have(num_benchmarks: int) -> None:
    steps = efforts(num_benchmarks)
    assert [one.num_runs for one in steps] == sorted((one.num_runs for one in steps), reverse=True)
    for one in steps:
        spec = ConfirmSpec(rates=one.rates, seeds=one.seeds, max_runs=one.max_runs, controls=True)
        _, most = spec.num_runs(num_benchmarks)
        assert most == one.max_runs


def test_without_known_costs_the_hours_do_not_decide() -> None:
    steps = steps_for(100)
    effort = affordable(None, 0.01, num_devices=1, num_benchmarks=1, numbers=[100], steps=steps)
    assert (effort.num_trials, effort.hours, effort.shorter) == (12, None, None)


def test_hours_of_a_gpu_are_those_that_a_plan_has() -> None:
    gpu = GPUS["A100-80G"]
    assert device_hours(gpu.peak_flops * 0.4 * 3600, gpu) == pytest.approx(1)
