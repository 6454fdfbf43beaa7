"""What a search weighs against each other: a score, and what it costs."""

from __future__ import annotations

COSTS = {
    "trainable_parameters": "trainable_parameters",
    "seconds": "train_seconds",
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
