"""Trials, seeds and data that a sweep can afford within the hours that a user has."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Final

from droplora_sweep.errors import InputError
from droplora_sweep.plan.costs.work import ASSUMED_UTILISATION, Gpu, gpu_hours

from .choices import shorter_than

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .choices import Shorter, Steps

CPU_FLOPS_PER_CORE: Final = 4e10
"""Operations per second of a core in training, an assumption: SmolLM2-135M with LoRA was seen to
train about twice as fast on two quiet cores."""
TRAINING_SHARE: Final = 0.7
"""Share of the hours that training may take; evaluations, starts and saves take the rest."""


@dataclass(frozen=True, kw_only=True)
class Effort:
    """Runs of a sweep.

    Attributes:
        num_trials: Trials of the search.
        rates: Pruning rates that are confirmed for each benchmark.
        seeds: Seeds of each confirmed setting.
        max_runs: Most runs of the confirmation.
        shorter: Trials shorter than their data would have them; None for whole ones.
        hours: Hours of all devices together that all runs train, at most; None where not known.
    """

    num_trials: int
    rates: int
    seeds: int
    max_runs: int
    shorter: Shorter | None = None
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
    # A rate has its control. Benchmarks and their mean mostly share their arms.
    num_arms = (2 * rates + 1) * (1 if num_benchmarks == 1 else 2)
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
    steps: Steps,
) -> Effort:
    """Return the largest effort that fits, with shorter trials where no other does.

    Args:
        run_hours: Hours of one device for one run on all data, at most; None where not known.
        hours: Hours that the user has.
        num_devices: GPUs, or CPU cores.
        num_benchmarks: Number of benchmarks.
        numbers: Training examples of each benchmark.
        steps: Length of a run on all of them.

    Raises:
        InputError: Not even the smallest does, with the shortest trials that still learn.
    """
    if run_hours is None:
        return _effort(UNKNOWN, num_benchmarks)
    room = TRAINING_SHARE * hours * num_devices
    for effort in efforts(num_benchmarks):
        if effort.num_runs * run_hours <= room:
            return replace(effort, hours=effort.num_runs * run_hours)
    smallest = efforts(num_benchmarks)[-1]
    whole = smallest.num_runs * run_hours
    shorter = shorter_than(steps, numbers, room / whole)
    if shorter is None:
        least = next(
            found for found in map(partial(shorter_than, steps, numbers), _SHARES) if found
        )
        problem = (
            f"must be at least {_up(hours * whole * least.share / room):g}, which "
            f"{smallest.num_runs} runs of {least.steps.num_steps} steps are planned to take, "
            f"got {hours:g}"
        )
        raise InputError.of("--hours", problem)
    return replace(smallest, shorter=shorter, hours=whole * shorter.share)


_SHARES: Final = tuple(percent / 1000 for percent in range(1, 1001))


def _up(hours: float) -> float:
    """Return hours to two digits, rounded up, by some rounding too much where they have two.

    >>> _up(0.9012), _up(12.3), _up(2.0)
    (0.91, 13.0, 2.1)
    """
    unit = 10.0 ** (math.floor(math.log10(hours)) - 1)
    return round(math.ceil(hours / unit + 1e-6) * unit, 9)
