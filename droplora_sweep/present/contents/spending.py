"""GPU hours that a sweep has spent, what its limits leave, and what it will take at its pace."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from droplora_sweep.present.values import DASH, format_hours, format_span
from droplora_sweep.records.trial import Stage
from droplora_sweep.run.spending import HOUR, gpu_time, wall_time

from .table import Cell, Table, row

if TYPE_CHECKING:
    from collections.abc import Mapping

    from droplora_sweep.ledger.progress import LiveProgress
    from droplora_sweep.records.trial import SweepRecord

    from .table import Row


def spending_table(
    record: SweepRecord, live: LiveProgress | None = None, now: datetime | None = None
) -> Table:
    """Return the hours of GPUs (on CPU: workers) by stage, and those of the clock.

    Args:
        record: The sweep.
        live: What its driver last said, where that is known.
        now: The time, UTC, while a driver works on it; else None.
    """
    group: Mapping[str, Any] = record.spec.get("group", {})
    unit = "GPU hours" if group.get("gpus_per_worker") else "worker hours"
    budget = record.spec["search"].get("budget") or {}
    confirm = record.spec.get("confirm")
    search_h, confirm_h = _hours_to_come(record, live if now is not None else None)
    rows = [_row(f"search, {unit}", _spent(record, now, Stage.SEARCH), budget, search_h)]
    if confirm is not None or record.confirm_trials:
        taken = _spent(record, now, Stage.CONFIRM)
        rows.append(_row(f"confirmation, {unit}", taken, confirm or {}, confirm_h))
    clock = {"gpu_hours": budget.get("wall_clock_hours")}
    rows.append(_row("time of drivers, hours", wall_time(record, now) / HOUR, clock, None))
    return Table("Spent, and left", ("what", "spent", "limit", "left", "to come"), tuple(rows))


def time_now(is_live: bool) -> datetime | None:
    """Return the time up to which a sweep's work counts beyond its last event."""
    return datetime.now(UTC) if is_live else None


def _spent(record: SweepRecord, now: datetime | None, stage: Stage) -> float:
    return gpu_time(record, now, stage) / HOUR


def _row(
    name: str, spent: float, limits: Mapping[str, Any], to_come: tuple[float, float] | None
) -> Row:
    limit = limits.get("gpu_hours")
    left = None if limit is None else max(0.0, limit - spent)
    pace = DASH if to_come is None else f"about {format_span(to_come, format_hours)}"
    return row(
        name,
        Cell(format_hours(spent), value=spent),
        Cell("none" if limit is None else format_hours(limit), value=limit),
        Cell(DASH if left is None else format_hours(left), value=left),
        Cell(pace, value=None if to_come is None else to_come[-1]),
    )


def _hours_to_come(
    record: SweepRecord, live: LiveProgress | None
) -> tuple[tuple[float, float] | None, tuple[float, float] | None]:
    """Return the hours of the search and of the confirmation to come: the fewest and the most.

    At the pace so far, with as many trials side by side as now.
    """
    if live is None or not live.trials:
        return None, None
    gpus = len(live.trials) * record.sessions[-1].gpus_per_trial
    scale = gpus / HOUR.total_seconds()
    stage_s, confirmation_s = live.left.stage_s, live.left.confirmation_s
    stage = None if stage_s is None else (stage_s * scale, stage_s * scale)
    if record.confirm_trials:
        return None, stage
    if confirmation_s is None:
        return stage, None
    fewest, most = confirmation_s
    return stage, (fewest * scale, most * scale)
