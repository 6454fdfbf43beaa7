"""The trials that no other beats in every objective."""

from __future__ import annotations

from typing import TYPE_CHECKING

from droplora_sweep.analysis.pareto import pareto_front
from droplora_sweep.present.terminal.pareto import objective_text
from droplora_sweep.spec.objectives import is_maximized

from .tables import Cell, Table

if TYPE_CHECKING:
    from .facts import Facts


def pareto_table(facts: Facts) -> Table | None:
    """One row per trial of the front, the best by the first objective on top; None without it."""
    objectives = facts.record.spec["search"].get("objectives")
    if not objectives:
        return None
    front = pareto_front(facts.searched, objectives)
    columns = (
        "trial",
        *(f"{name} ({'%, high' if is_maximized(name) else 'low'})" for name in objectives),
    )
    rows = tuple(
        (
            Cell(point.trial_id),
            *(Cell(objective_text(name, point.values[name])) for name in objectives),
        )
        for point in front
    )
    return Table("Trials that no other beats in every objective (Pareto front)", columns, rows)
