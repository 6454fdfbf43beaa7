"""Schedule of a trial: its steps, evaluations and learning rate; no torch."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from droplora_sweep.spec.trial import TrainingSpec


def steps_per_epoch(num_examples: int, global_batch_size: int) -> int:
    """Optimiser steps of one pass; the last one takes the remainder, so no example is skipped."""
    return -(-num_examples // global_batch_size)


def num_steps(num_examples: int, training: TrainingSpec) -> int:
    """Optimiser steps of a trial over ``num_examples`` (those that are not over-long)."""
    return training.epochs * steps_per_epoch(num_examples, training.global_batch_size)


def evaluation_steps(num_steps: int, num_evaluations: int) -> tuple[int, ...]:
    """After how many steps each evaluation comes: evenly spaced, the last at the end.

    A trial of fewer steps than evaluations is evaluated after each step.
    """
    count = min(num_steps, num_evaluations)
    return tuple(num_steps * (index + 1) // count for index in range(count))


def warmup_steps(num_steps: int, training: TrainingSpec) -> int:
    """Steps of linear warmup: as many as are given, else a share of the trial's, rounded up.

    At least one step comes after them, so that every trial reaches its peak learning rate.

    Args:
        num_steps: Steps of the whole trial.
        training: The warmup's length.
    """
    wanted = training.warmup_steps
    if wanted is None:
        wanted = math.ceil(training.warmup_ratio * num_steps)
    return min(wanted, num_steps - 1)


def learning_rate(step: int, num_steps: int, training: TrainingSpec) -> float:
    """Linear warmup to the peak, then what the schedule says, as transformers' schedulers have it.

    ``peak * step / warmup`` before ``warmup`` steps; so the first warmup step has a rate of zero,
    and the step after the warmup has the peak. Then with ``linear``, as the paper's trainer has it,
    ``peak * (num_steps - step) / (num_steps - warmup)``; with ``cosine`` the peak times
    ``(1 + cos(pi * (step - warmup) / (num_steps - warmup))) / 2``; with ``constant`` the peak.

    Args:
        step: 0-based.
        num_steps: Steps of the whole trial.
        training: Peak, warmup and schedule.
    """
    warmup, peak = warmup_steps(num_steps, training), training.learning_rate
    if step < warmup:
        return peak * step / warmup
    if training.learning_rate_schedule == "constant":
        return peak
    if training.learning_rate_schedule == "cosine":
        return peak * (1 + math.cos(math.pi * (step - warmup) / (num_steps - warmup))) / 2
    return peak * (num_steps - step) / (num_steps - warmup)
