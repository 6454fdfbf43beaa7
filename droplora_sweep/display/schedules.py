"""What members of a population trained with, evaluation by evaluation, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from .values import format_params, format_score

if TYPE_CHECKING:
    from collections.abc import Mapping

    from droplora_sweep.spec import Scalar
    from droplora_sweep.tracking import SweepRecord


def turn_text(evaluation: int, source: str, settings: Mapping[str, Scalar]) -> str:
    """One turn.

    >>> turn_text(2, "t0001-3f2a91bc", {"adapter.pruning_rate": 0.4})
    'from evaluation 2 copied t0001, pruning_rate=0.4'
    """
    short = source.partition("-")[0]
    return f"from evaluation {evaluation} copied {short}, {format_params(settings)}"


def schedules_table(record: SweepRecord) -> Table | None:
    """Every member of a population with its schedule, best first; None without a population."""
    if record.spec["search"].get("population") is None:
        return None
    metric = record.spec["search"]["metric"]
    members = [
        trial for trial in record.search_trials if trial.clone_of is None and trial.origin is None
    ]
    table = Table(title=f"Population of {record.name}: schedules by {metric} in %")
    table.add_column("trial", no_wrap=True)
    table.add_column(metric, justify="right")
    table.add_column("began with")
    table.add_column("then")
    unscored = float("-inf")
    for trial in sorted(members, key=lambda each: -each.metrics.get(metric, unscored)):
        turns = [
            turn_text(turn.evaluation, turn.source, turn.settings)
            for turn in trial.schedule
            if turn.source is not None
        ]
        table.add_row(
            trial.trial_id.partition("-")[0],
            format_score(trial.metrics.get(metric)),
            format_params(trial.params),
            "; ".join(turns) or "kept them",
        )
    return table
