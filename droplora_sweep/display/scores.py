"""Scores outside a sweep, as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from droplora_sweep.evaluation import example_scores
from droplora_sweep.selection.intervals import mean_score

from .values import UNKNOWN, format_score

if TYPE_CHECKING:
    from droplora_sweep.driver.scoring import Scored


def scores_table(scored: Scored) -> Table:
    """One row per benchmark with its 95 % interval, and their unweighted mean."""
    outcomes = example_scores((one.benchmark, one.example_id, one.score) for one in scored.results)
    names = dict.fromkeys(one.benchmark for one in scored.results)
    table = Table(title=f"{scored.what}: accuracy on the {scored.split} split, in %")
    table.add_column("benchmark")
    for name in ("examples", "accuracy", "95 % interval"):
        table.add_column(name, justify="right")
    for name in names:
        known = [score for score in outcomes[name].values() if score is not None]
        interval = UNKNOWN
        if known:
            estimate = mean_score(known)
            interval = f"{format_score(estimate.low)} to {format_score(estimate.high)}"
        table.add_row(name, str(len(known)), format_score(scored.scores[name]), interval)
    if len(names) > 1:
        table.add_row("mean", "", format_score(scored.scores["mean"]), "")
    return table
