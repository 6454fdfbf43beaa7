"""Rows of the table: a measured value, the bound that it is judged by, and the outcome."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

Outcome = Literal["passed", "failed", "skipped", "not run", "measured"]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One measurement.

    Attributes:
        check: Name of its check.
        case: Its case within the check.
        value: What was measured; None where nothing was.
        unit: Unit of value and bounds; empty for a plain number.
        low: Least value that passes; None without one.
        high: Greatest value that passes; None without one.
        outcome: ``measured`` has no bound; ``not run`` had no time left.
        note: Remark, or the reason of a failure or a skip.
    """

    check: str
    case: str
    value: float | None = None
    unit: str = ""
    low: float | None = None
    high: float | None = None
    outcome: Outcome
    note: str = ""

    @property
    def bound(self) -> str:
        """The bound as a table has it."""
        if self.low is None and self.high is None:
            return ""
        if self.low == self.high:
            return f"{self.low:.4g}"
        if self.low is None:
            return f"<= {self.high:.4g}"
        return f">= {self.low:.4g}" if self.high is None else f"{self.low:.4g} to {self.high:.4g}"


def judged(
    check: str,
    case: str,
    value: float,
    unit: str = "",
    *,
    low: float | None = None,
    high: float | None = None,
    note: str = "",
) -> Row:
    """Return the row of a value that has to be within its bounds, which it may reach.

    A value that is no number fails.
    """
    assert low is not None or high is not None, "a value without a bound is `measured`"
    is_within = (
        math.isfinite(value) and (low is None or value >= low) and (high is None or value <= high)
    )
    return Row(
        check=check,
        case=case,
        value=value,
        unit=unit,
        low=low,
        high=high,
        outcome="passed" if is_within else "failed",
        note=note,
    )


def on_gpu_alone(row: Row, device_type: str, why: str) -> Row:
    """Return the row, or on a CPU a skipped one, whose value has no meaning there."""
    if device_type == "cuda":
        return row
    note = "; ".join(filter(None, [f"{why} on a GPU alone", row.note]))
    return Row(**{**asdict(row), "value": None, "outcome": "skipped", "note": note})


def skipped(check: str, case: str, reason: str) -> Row:
    """Return the row of a case that has no meaning on this machine."""
    return Row(check=check, case=case, outcome="skipped", note=reason)


def failed(check: str, case: str, problem: str) -> Row:
    """Return the row of a case that ended without a value."""
    return Row(check=check, case=case, outcome="failed", note=problem)


def not_run(check: str, case: str, reason: str) -> Row:
    """Return the row of a case that was not begun."""
    return Row(check=check, case=case, outcome="not run", note=reason)


def problem_of(error: BaseException) -> str:
    """Return an exception as one line."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def as_line(row: Row) -> str:
    """Return a row as a line of JSON."""
    return json.dumps(asdict(row))


def from_line(line: str) -> Row:
    """Return the row that `as_line` wrote."""
    return Row(**json.loads(line))


def as_table(rows: Sequence[Row]) -> list[str]:
    """Return the lines of a table with a header; the longest column, the notes, is the last."""
    cells = [("check", "case", "value", "bound", "unit", "outcome", "note")]
    for row in rows:
        value = "" if row.value is None else f"{row.value:.4g}"
        cells.append((row.check, row.case, value, row.bound, row.unit, row.outcome, row.note))
    widths = [max(len(line[column]) for line in cells) for column in range(6)]
    lines = []
    for *short, note in cells:
        padded = (cell.ljust(width) for cell, width in zip(short, widths, strict=True))
        lines.append("  ".join([*padded, note]).rstrip())
    return lines


def summary(rows: Iterable[Row], seconds: float) -> str:
    """Return the last line below the table."""
    counts: dict[str, int] = {}
    for row in rows:
        counts[row.outcome] = counts.get(row.outcome, 0) + 1
    parts = [f"{counts[name]} {name}" for name in sorted(counts)]
    return f"{', '.join(parts) or 'no check'} in {seconds:.0f} s"


def report(rows: Sequence[Row], machine: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    """Return what the JSON file has."""
    found = [{**asdict(row), "bound": row.bound} for row in rows]
    return {"machine": dict(machine), "seconds": seconds, "rows": found}
