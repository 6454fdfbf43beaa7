"""A table as data: made once, shown on a terminal, in a report's page and as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

from droplora_sweep.analysis.estimate import Estimate
from droplora_sweep.present.values import (
    DASH,
    format_gain,
    format_interval,
    format_probability,
    format_score,
)

Value: TypeAlias = Estimate | float | str | None


@dataclass(frozen=True)
class Cell:
    """One cell.

    Attributes:
        text: Its content for people.
        note: A second, smaller line in a page; beside the text on a terminal.
        is_marked: True for the one to use, or the best of its column.
        value: Its content for programs; None where that is the text.
    """

    text: str
    note: str = ""
    is_marked: bool = False
    value: Value = None


@dataclass(frozen=True)
class Row:
    """One row.

    Attributes:
        cells: One per column, the first of which names the row.
        is_aside: True for something to compare with, which is no result of the table's own.
    """

    cells: tuple[Cell, ...]
    is_aside: bool = False


@dataclass(frozen=True)
class Table:
    """Rows under named columns.

    Attributes:
        title: Its subject.
        columns: Names of the columns.
        rows: From top to bottom.
        notes: Sentences that belong under it.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()


def row(*cells: Cell | str, is_aside: bool = False) -> Row:
    """Return a row of cells, or of their texts."""
    made = (Cell(cell) if isinstance(cell, str) else cell for cell in cells)
    return Row(tuple(made), is_aside)


def score_cell(
    score: Estimate | float | None, estimate: Estimate | None = None, *, is_marked: bool = False
) -> Cell:
    """Return a score, with its interval as the note.

    Args:
        score: The score, which may have its own interval.
        estimate: Its interval where that is known apart from it.
        is_marked: True for the best of its column.
    """
    known = estimate or score
    return Cell(format_score(score), format_interval(known), is_marked, known)


def gain_cell(gain: Estimate | None, note: str = "") -> Cell:
    """Return a difference of scores."""
    return Cell(format_gain(gain), note, value=gain)


def probability_cell(probability: float | None) -> Cell:
    """Return a probability."""
    return Cell(format_probability(probability), value=probability)


def table_json(table: Table) -> dict[str, Any]:
    """Return a table for other programs: scores as fractions, null where there is no value."""
    return {
        "title": table.title,
        "columns": list(table.columns),
        "rows": [[_json(cell) for cell in each.cells] for each in table.rows],
        "notes": list(table.notes),
    }


def _json(cell: Cell) -> Any:
    if isinstance(cell.value, Estimate):
        return asdict(cell.value)
    if cell.value is not None:
        return cell.value
    return None if cell.text in (DASH, "") else cell.text
