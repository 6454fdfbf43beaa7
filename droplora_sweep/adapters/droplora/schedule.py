"""Which pruning rate a step has; no torch."""

from __future__ import annotations

import math

SCHEDULES = ("constant", "linear", "cosine")


def rate_at(step: int, num_steps: int, rate: float, schedule: str) -> float:
    """The pruning rate of one optimiser step.

    ``constant``: the rate. ``linear``: from 0 at the first step straight up to the rate at the
    last. ``cosine``: the same along half a cosine, ``rate * (1 - cos(pi t)) / 2``, slow at both
    ends. A trial of one step has the rate itself.

    Args:
        step: 0-based.
        num_steps: Steps of the whole trial.
        rate: The rate that is reached.
        schedule: One of ``SCHEDULES``.
    """
    if schedule == "constant" or num_steps <= 1:
        return rate
    done = min(1.0, step / (num_steps - 1))
    return rate * (done if schedule == "linear" else (1 - math.cos(math.pi * done)) / 2)
