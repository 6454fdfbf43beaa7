"""Which pruning rate a layer has, and when; no torch."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

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


def rate_of(layer: str, rates: Mapping[str, float], default: float) -> float:
    """The pruning rate of a layer: of the longest key that names it, else the default.

    A key names a layer by PEFT's rule for targets: its full name, or its last part or parts.
    """
    naming = [key for key in rates if layer == key or layer.endswith(f".{key}")]
    return rates[max(naming, key=len)] if naming else default
