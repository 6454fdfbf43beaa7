"""The trials that no other beats in every objective, as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from droplora_sweep.present.values import format_count, format_score, format_seconds
from droplora_sweep.spec.objectives import COSTS, is_maximized

if TYPE_CHECKING:
    from collections.abc import Sequence

    from droplora_sweep.analysis.pareto import ParetoPoint


def pareto_table(front: Sequence[ParetoPoint], objectives: Sequence[str]) -> Table:
    """One row per trial, the best by the first objective on top."""
    table = Table(title="Trials that no other beats in every objective (Pareto front)")
    table.add_column("trial")
    for name in objectives:
        better = "%, high" if is_maximized(name) else "low"
        table.add_column(f"{name} ({better})", justify="right")
    for point in front:
        table.add_row(
            point.trial_id, *(objective_text(name, point.values[name]) for name in objectives)
        )
    return table


def objective_text(objective: str, value: float) -> str:
    """An objective's value for people: scores in percent."""
    if objective not in COSTS:
        return format_score(value)
    if objective == "seconds":
        return format_seconds(value)
    if objective == "trainable_parameters":
        return format_count(int(value))
    return f"{value:.2f} GB" if objective == "memory" else f"{value:.3f}"
