"""Methods side by side, with the paper's numbers where it has the same setting."""

from __future__ import annotations

from typing import TYPE_CHECKING

from droplora_sweep.present.terminal.methods import methods_notes, paper_numbers
from droplora_sweep.present.values import format_params
from droplora_sweep.present.wording import DASH, interval, points, score

from .tables import Cell, Table

if TYPE_CHECKING:
    from droplora_sweep.analysis.methods import MethodRow, MethodTable


def methods_table(found: MethodTable) -> Table:
    """The best setting of each variant; the paper's row below, where it has one."""
    columns = ("method", *found.benchmarks, "against the reference", "trials", "best setting")
    rows = []
    for index, row in enumerate(found.rows):
        reference = "reference" if index == found.reference else points(row.difference)
        setting = format_params(row.settings) or row.best or DASH
        rows.append(
            (
                Cell(format_params(row.variant)),
                *(_method_score(row, name) for name in found.benchmarks),
                Cell(reference),
                Cell(str(row.num_trials)),
                Cell(setting, row.best if row.best and setting != row.best else ""),
            )
        )
        if (printed := paper_numbers(row, found.benchmarks)) is not None:
            rows.append((*map(Cell, printed), Cell(""), Cell(""), Cell("")))
    return Table("Best setting of each method in the search", columns, tuple(rows))


def methods_text(found: MethodTable) -> list[str]:
    """What the table's numbers are, and are not."""
    return list(methods_notes(found))


def _method_score(row: MethodRow, name: str) -> Cell:
    estimate = row.intervals.get(name)
    return Cell(score(estimate or row.scores.get(name)), interval(estimate))
