"""Metrics that are reported beside the scores, with intervals, and that decide nothing."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from droplora_sweep.scorers.harness import HarnessScorer
from droplora_sweep.spec.metric_names import COST, HIGH, LOW, reported_name

from .corpus import Interval, Read, mean_interval, measure

if TYPE_CHECKING:
    from collections.abc import Iterable

    from droplora_sweep.tasks.task import ScoredSplit, Task

    from .results import ExampleResult


def reported_metrics(
    task: Task, results: Iterable[ExampleResult], split: ScoredSplit = "validation"
) -> dict[str, float]:
    """Return the further metrics of some results, each with its 95 % interval.

    * ``<metric>/val/<benchmark>``: of a benchmark's ``metrics``, and of its scorer's (see
      ``corpus``); ``bleu`` and ``chrf`` in [0, 100], the others in [0, 1].
    * ``<metric>/val/<benchmark>``: of what lm-evaluation-harness measures beside the score; with a
      filter ``<metric>.<filter>``, since MLflow takes no comma in a name.
    * ``cost/val/<benchmark>``: the mean cost where less of a scorer's numbers is better.

    ``/low`` and ``/high`` behind these names are the ends of the interval.

    Args:
        task: Has the benchmarks.
        results: Of all ranks, in any order.
        split: Split that was scored.
    """
    by_name: dict[str, list[ExampleResult]] = defaultdict(list)
    # In one order, whatever ranks there are: the bootstrap's samples depend on it.
    for one in sorted(results, key=lambda one: (one.example_id, one.sample)):
        by_name[one.benchmark].append(one)
    metrics: dict[str, float] = {}
    for benchmark in task.benchmarks:
        own = by_name.get(benchmark.name, [])
        if not own:
            continue
        reads = [Read(one.response, one.prediction, one.gold) for one in own]
        found = {name: measure(name, reads) for name in benchmark.metrics}
        if benchmark.scorer.direction == "lower":
            found[COST] = mean_interval([1 - (one.score or 0.0) for one in own])
        if isinstance(benchmark.scorer, HarnessScorer):
            from .harness import harness_intervals

            found |= harness_intervals(benchmark.scorer.settings, own)
        for name, interval in found.items():
            metrics |= _named(reported_name(name, benchmark.name, split), interval)
    return metrics


def _named(name: str, interval: Interval) -> dict[str, float]:
    return {name: interval.value, name + LOW: interval.low, name + HIGH: interval.high}
