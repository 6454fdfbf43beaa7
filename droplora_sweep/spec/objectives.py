"""What a search weighs against each other: a score, and what it costs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SECONDS = "train_seconds"
"""The metric of training time, of each evaluation since the one before."""

COSTS = {
    "trainable_parameters": "trainable_parameters",
    "seconds": SECONDS,
    "memory": "peak_memory_gb",
    "forgetting": "perplexity/ratio",
}
"""Objectives that are to be low, and the metric of each: trainable parameters; seconds of training
without evaluation, summed over the trial; GB of the worker that uses most; perplexity of
``evaluation.held_out_text`` after training over that before. Every other objective is ``mean`` or
a benchmark, whose score is to be high."""


def metric_of(objective: str) -> str:
    """The metric that trials report.

    >>> metric_of("mean"), metric_of("forgetting")
    ('val/mean', 'perplexity/ratio')
    """
    return COSTS.get(objective, f"val/{objective}")


def is_maximized(objective: str) -> bool:
    """Whether more of it is better."""
    return objective not in COSTS


def objective_values(
    objectives: Sequence[str], metrics: Mapping[str, float], seconds: float
) -> tuple[float, ...] | None:
    """A trial's value of each objective; None where one is missing or not finite.

    Args:
        objectives: ``search.objectives``.
        metrics: The trial's last ones.
        seconds: Of training, over the whole trial.
    """
    values = tuple(
        seconds if COSTS.get(name) == SECONDS else metrics.get(metric_of(name), math.nan)
        for name in objectives
    )
    return values if all(map(math.isfinite, values)) else None
