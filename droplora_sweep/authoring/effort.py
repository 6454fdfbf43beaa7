"""Trials, seeds and data that a sweep can afford within the hours that a user has."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from droplora_sweep.errors import InputError
from droplora_sweep.plan.costs.work import ASSUMED_UTILISATION, Gpu, gpu_hours

if TYPE_CHECKING:
    from collections.abc import Sequence

CPU_FLOPS_PER_CORE: Final = 4e10
"""Operations per second of a core in training, an assumption: SmolLM2-135M with LoRA was seen to
train about twice as fast on two quiet cores."""
TRAINING_SHARE: Final = 0.7
"""Share of the hours that training may take; evaluations, starts and saves take the rest."""
MIN_TRAIN: Final = 32
"""Fewest training examples that the data is cut down to."""


@dataclass(frozen=True, kw_only=True)
class Effort:
    """Runs of a sweep.

    Attributes:
        num_trials: Trials of the search.
        rates: Pruning rates that are confirmed for each benchmark.
        seeds: Seeds of each confirmed setting.
        max_runs: Most runs of the confirmation.
        num_train: Training examples per benchmark; None for all.
        hours: Hours of all devices together that all runs train, at most; None where not known.
    """

    num_trials: int
    rates: int
    seeds: int
    max_runs: int
    num_train: int | None = None
    hours: float | None = None

    @property
    def num_runs(self) -> int:
        """Trials and the most runs of the confirmation."""
        return self.num_trials + self.max_runs


_LADDER: Final = (
    *((48, 3, 6), (40, 3, 5), (32, 3, 5), (32, 3, 4), (24, 3, 4), (24, 2, 4)),
    *((20, 2, 4), (16, 2, 3), (12, 2, 3), (10, 2, 3), (8, 2, 3), (8, 1, 3)),
)
"""Trials, confirmed rates and seeds, from the most that is worth its time to the fewest of which
something can be learned: the paper's setting and p = 0 are two of the trials."""
UNKNOWN: Final = (12, 2, 3)
"""Taken where the hours of a run are not known."""


def efforts(num_benchmarks: int) -> tuple[Effort, ...]:
    """Return the efforts to choose from, the largest first."""
    return tuple(_effort(step, num_benchmarks) for step in _LADDER)


def _effort(step: tuple[int, int, int], num_benchmarks: int) -> Effort:
    num_trials, rates, seeds = step
    # Benchmarks and their mean mostly share their arms.
    num_arms = (rates + 1) * (1 if num_benchmarks == 1 else 2)
    return Effort(num_trials=num_trials, rates=rates, seeds=seeds, max_runs=num_arms * seeds)


def device_hours(flops: float, gpu: Gpu | None) -> float:
    """Return the hours of a run's training on one GPU, or on one CPU core where ``gpu`` is None.

    >>> device_hours(4e10 * 3600, None)
    1.0
    """
    if gpu is not None:
        return gpu_hours(flops, gpu, ASSUMED_UTILISATION)
    return flops / CPU_FLOPS_PER_CORE / 3600


def affordable(
    run_hours: float | None,
    hours: float,
    *,
    num_devices: int,
    num_benchmarks: int,
    numbers: Sequence[int],
) -> Effort:
    """Return the largest effort that fits, on less data where no other does.

    Args:
        run_hours: Hours of one device for one run on all data, at most; None where not known.
        hours: Hours that the user has.
        num_devices: GPUs, or CPU cores.
        num_benchmarks: Number of benchmarks.
        numbers: Training examples of each benchmark.

    Raises:
        InputError: Not even the smallest on the fewest examples does.
    """
    if run_hours is None:
        return _effort(UNKNOWN, num_benchmarks)
    room = TRAINING_SHARE * hours * num_devices
    for effort in efforts(num_benchmarks):
        if effort.num_runs * run_hours <= room:
            return replace(effort, hours=effort.num_runs * run_hours)
    smallest = efforts(num_benchmarks)[-1]
    whole, num_all = smallest.num_runs * run_hours, sum(numbers)

    def planned(num_train: int) -> float:
        return whole * sum(min(number, num_train) for number in numbers) / num_all

    fitting = [number for number in range(MIN_TRAIN, max(numbers)) if planned(number) <= room]
    if not fitting:
        least = hours * planned(MIN_TRAIN) / room
        problem = (
            f"must be at least {least:.2g}, which {smallest.num_runs} runs on {MIN_TRAIN} examples "
            f"of each benchmark are planned to take, got {hours:g}"
        )
        raise InputError.of("--hours", problem)
    return replace(smallest, num_train=fitting[-1], hours=planned(fitting[-1]))
