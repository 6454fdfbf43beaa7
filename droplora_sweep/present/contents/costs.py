"""A sweep's costs: when each trial ran, and the hours of its workers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from droplora_sweep.present.values import format_hours, format_quantity
from droplora_sweep.records.trial import TrialState
from droplora_sweep.spec.metric_names import (
    EVALUATION_SECONDS,
    PEAK_MEMORY_GB,
    TOKENS_PER_SECOND,
    TRAIN_SECONDS,
    TRAINABLE_PARAMETERS,
)

from .table import Cell, Table, row

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from droplora_sweep.records.trial import SweepRecord, TrialRecord

    from .facts import Facts


MEASURED = (
    (TRAIN_SECONDS, "training", "s"),
    (EVALUATION_SECONDS, "last evaluation", "s"),
    (TOKENS_PER_SECOND, "training speed", "tokens/s"),
    (PEAK_MEMORY_GB, "peak memory of a worker", "GB"),
    (TRAINABLE_PARAMETERS, "trainable parameters", ""),
)


@dataclass(frozen=True)
class Span:
    """Start and end of one trial's attempt, in hours since the sweep began."""

    trial_id: str
    start_h: float
    end_h: float
    state: str


@dataclass(frozen=True)
class Costs:
    """Time and hardware that a sweep took.

    Attributes:
        spans: One per trial and retry of it, in order of start; trials copied from another sweep
            are left out.
        elapsed_h: From the sweep's start to the last event, pauses between drivers included.
        trial_h: Sum of the trials' durations.
        num_workers: Workers that each trial keeps busy.
        gpus_per_worker: GPUs of each.
    """

    spans: tuple[Span, ...]
    elapsed_h: float
    trial_h: float
    num_workers: int
    gpus_per_worker: float

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
        hours = format_hours(self.elapsed_h)
        return f"When each of {len(self.spans)} trials ran, as bars over {hours} hours."


def costs(facts: Facts) -> Costs:
    """Return what the sweep took so far."""
    record, end = facts.record, facts.as_of
    spans = tuple(span for trial in _trained(record) for span in _spans(trial, record.started, end))
    group = record.spec.get("group", {})
    return Costs(
        spans=tuple(sorted(spans, key=lambda span: (span.start_h, span.trial_id))),
        elapsed_h=(end - record.started).total_seconds() / 3600,
        trial_h=math.fsum(span.end_h - span.start_h for span in spans),
        num_workers=group.get("num_workers", 1),
        gpus_per_worker=group.get("gpus_per_worker", 0),
    )


def _spans(trial: TrialRecord, start: datetime, last: datetime) -> Iterator[Span]:
    states = [*(TrialState.FAILED for _ in trial.failures), trial.state]
    # One that is still to be retried has no present attempt.
    for (began, ended), state in zip(trial.spans, states, strict=False):
        first, end = ((time - start).total_seconds() / 3600 for time in (began, ended or last))
        yield Span(trial.trial_id, first, end, str(state))


def measures_table(record: SweepRecord) -> Table:
    """Return the quantities that trials reported, over those that were trained here."""
    rows = []
    for name, title, unit in MEASURED:
        values = [trial.metrics[name] for trial in _trained(record) if name in trial.metrics]
        values = [value for value in values if math.isfinite(value)]
        if values:
            found = (min(values), median(values), max(values))
            cells = (Cell(format_quantity(value), value=value) for value in found)
            rows.append(row(title, *cells, unit))
    columns = ("what", "least", "median", "most", "unit")
    return Table("Measured by the trials themselves", columns, tuple(rows))


def _trained(record: SweepRecord) -> list[TrialRecord]:
    return [trial for trial in record.trials if trial.origin is None]
