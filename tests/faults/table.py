"""The table of the faults suite: case, injected faults, what came of it, seconds.

Tests may run in several processes: the rows of each come to the one that prints the table with its
report.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest

PROPERTY = "fault"
_ROWS: list[Row] = []
"""Of the test that runs."""


@dataclass
class Row:
    """One case.

    Attributes:
        case: The fault.
        system: ``droplora-sweep``, or the stock combination beside it.
        injected: Number of injected faults.
        result: Outcome in a few words; the test sets it before its last assertion.
        seconds: Wall time of the case.
    """

    case: str
    system: str
    injected: int = 0
    result: str = "did not end"
    seconds: float = field(default=0.0)


@contextmanager
def recorded(case: str, system: str = "droplora-sweep") -> Iterator[Row]:
    """A row of the table, also where the case fails."""
    row = Row(case, system)
    _ROWS.append(row)
    started_s = time.monotonic()
    try:
        yield row
    finally:
        row.seconds = time.monotonic() - started_s


def hand_over(test: pytest.Item) -> None:
    """Give a test's rows to its report."""
    test.user_properties += [(PROPERTY, asdict(row)) for row in _ROWS]
    _ROWS.clear()


def rows_of(properties: list[tuple[str, Any]]) -> list[Row]:
    """The rows in the properties of a test's report."""
    return [Row(**fields) for name, fields in properties if name == PROPERTY]


def as_lines(rows: list[Row]) -> list[str]:
    """The table as text, in columns."""
    cells = [("case", "system", "faults", "result", "seconds")]
    cells += [
        (row.case, row.system, str(row.injected), row.result, f"{row.seconds:.0f}") for row in rows
    ]
    widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    ]
