"""What members of a population trained with, evaluation by evaluation, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from .values import format_params, format_score

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from droplora_sweep.records.trial import SweepRecord
    from droplora_sweep.spec import Scalar, Turn


def turn_text(evaluation: int, source: str, settings: Mapping[str, Scalar]) -> str:
    """One turn.

    >>> turn_text(2, "t0001-3f2a91bc", {"adapter.pruning_rate": 0.4})
    'from evaluation 2 copied t0001, pruning_rate=0.4'
    """
    short = source.partition("-")[0]
    return f"from evaluation {evaluation} copied {short}, {format_params(settings)}"


def schedule_texts(schedule: Sequence[Turn]) -> list[str]:
    """The turns of `TrialRecord.schedule`, in order."""
    return [turn_text(each.evaluation, str(each.source), each.settings) for each in schedule]


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
        table.add_row(
            trial.trial_id.partition("-")[0],
            format_score(trial.metrics.get(metric)),
            format_params(trial.params),
            "; ".join(schedule_texts(trial.schedule)) or "kept them",
        )
    return table
