"""A sweep's costs: when each trial ran, and the hours of its workers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from droplora_sweep.spec.metric_names import (
    EVALUATION_SECONDS,
    PEAK_MEMORY_GB,
    TOKENS_PER_SECOND,
    TRAIN_SECONDS,
    TRAINABLE_PARAMETERS,
)

from .canvas import BLACK, BLUE, ORANGE, SKY, VERMILION, Picture, draw, legend_below

if TYPE_CHECKING:
    from datetime import datetime

    from matplotlib.axes import Axes

    from droplora_sweep.present.report.facts import Facts
    from droplora_sweep.records.trial import TrialRecord


MEASURED = (
    (TRAIN_SECONDS, "training", "s"),
    (EVALUATION_SECONDS, "last evaluation", "s"),
    (TOKENS_PER_SECOND, "training speed", "tokens/s"),
    (PEAK_MEMORY_GB, "peak memory of a worker", "GB"),
    (TRAINABLE_PARAMETERS, "trainable parameters", ""),
)


@dataclass(frozen=True)
class Span:
    """When one trial ran, in hours since the sweep began."""

    trial_id: str
    start_h: float
    end_h: float
    state: str
    stage: str


@dataclass(frozen=True)
class Measure:
    """One quantity over the trials that reported it.

    Attributes:
        name: In words.
        unit: Its unit, "" for a count.
        least: Smallest.
        middle: Median.
        most: Largest.
    """

    name: str
    unit: str
    least: float
    middle: float
    most: float


@dataclass(frozen=True)
class Costs:
    """What a sweep took.

    Attributes:
        spans: One per trial, in order of start; those copied from another sweep are left out.
        elapsed_h: From the sweep's start to the last event, pauses between drivers included.
        trial_h: Sum of the trials' durations.
        num_workers: Workers that each trial keeps busy.
        gpus_per_worker: GPUs of each.
        measures: What trials reported.
    """

    spans: tuple[Span, ...]
    elapsed_h: float
    trial_h: float
    num_workers: int
    gpus_per_worker: int
    measures: tuple[Measure, ...]

    @property
    def worker_h(self) -> float:
        """Hours of workers that trials kept busy."""
        return self.trial_h * self.num_workers

    @property
    def gpu_h(self) -> float | None:
        """Hours of GPUs; None where the sweep has none."""
        return self.worker_h * self.gpus_per_worker if self.gpus_per_worker else None

    @property
    def alt(self) -> str:
        """The spans in words."""
        return (
            f"When each of {len(self.spans)} trials ran, as bars over {self.elapsed_h:.2g} hours."
        )


def costs(facts: Facts) -> Costs:
    """What the sweep took so far."""
    record, end = facts.record, facts.as_of
    trained = [trial for trial in record.trials if trial.origin is None]
    spans = tuple(_span(trial, record.started, end) for trial in trained)
    group = record.spec.get("group", {})
    return Costs(
        spans=tuple(sorted(spans, key=lambda span: (span.start_h, span.trial_id))),
        elapsed_h=(end - record.started).total_seconds() / 3600,
        trial_h=math.fsum(span.end_h - span.start_h for span in spans),
        num_workers=group.get("num_workers", 1),
        gpus_per_worker=group.get("gpus_per_worker", 0),
        measures=tuple(
            measure
            for name, words, unit in MEASURED
            if (measure := _measure(trained, name, words, unit)) is not None
        ),
    )


def _span(trial: TrialRecord, start: datetime, last: datetime) -> Span:
    end = trial.finished or last
    return Span(
        trial.trial_id,
        (trial.started - start).total_seconds() / 3600,
        (end - start).total_seconds() / 3600,
        str(trial.state),
        str(trial.stage),
    )


def _measure(trials: list[TrialRecord], name: str, words: str, unit: str) -> Measure | None:
    values = [trial.metrics[name] for trial in trials if name in trial.metrics]
    values = [value for value in values if math.isfinite(value)]
    if not values:
        return None
    return Measure(words, unit, min(values), median(values), max(values))


LOOKS = {
    "COMPLETE": ("complete", BLUE, ""),
    "STOPPED": ("stopped early", ORANGE, "////"),
    "FAILED": ("failed", VERMILION, "xxxx"),
    "RUNNING": ("not finished", SKY, ""),
}
MOST_NAMES = 40


def draw_costs(found: Costs) -> Picture:
    """One panel: a bar per trial."""
    height = min(9.0, 1.6 + 0.17 * max(6, len(found.spans)))
    return draw("trials_over_time", [found], _draw, lambda panel: panel.alt, inches=(4.6, height))


def _draw(axes: Axes, found: Costs) -> None:
    scale, unit = (60.0, "minutes") if found.elapsed_h < 2 else (1.0, "hours")
    named: set[str] = set()
    for place, span in enumerate(found.spans):
        label, color, hatch = LOOKS[span.state]
        axes.barh(
            place,
            (span.end_h - span.start_h) * scale,
            left=span.start_h * scale,
            color=color,
            hatch=hatch,
            edgecolor=BLACK,
            linewidth=0.5,
            height=0.8,
            label=None if label in named else label,
        )
        named.add(label)
    if len(found.spans) <= MOST_NAMES:
        names = [span.trial_id.partition("-")[0] for span in found.spans]
        axes.set_yticks(range(len(names)), names, fontsize=7.5)
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.set_xlabel(f"{unit} since the sweep began")
    legend_below(axes)
