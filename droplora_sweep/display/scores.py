"""Scores outside a sweep, as a table."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from rich.table import Table

from droplora_sweep.selection.intervals import proportion

from .values import format_score

if TYPE_CHECKING:
    from droplora_sweep.driver.scoring import Scored


def scores_table(scored: Scored) -> Table:
    """One row per benchmark with its 95 % interval (Wilson), and their unweighted mean."""
    outcomes: dict[str, list[bool]] = defaultdict(list)
    for result in scored.results:
        outcomes[result.benchmark].append(result.correct)
    table = Table(title=f"{scored.what}: accuracy on the {scored.split} split, in %")
    table.add_column("benchmark")
    for name in ("examples", "accuracy", "95 % interval"):
        table.add_column(name, justify="right")
    for benchmark, correct in outcomes.items():
        estimate = proportion(sum(correct), len(correct))
        interval = f"{format_score(estimate.low)} to {format_score(estimate.high)}"
        table.add_row(benchmark, str(len(correct)), format_score(estimate.value), interval)
    if len(outcomes) > 1:
        table.add_row("mean", "", format_score(scored.scores["mean"]), "")
    return table
