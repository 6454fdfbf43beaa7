"""The rank/score curve of a trial's adapter, as a table and a few lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from droplora_sweep.present.values import format_bytes, format_count, format_score

if TYPE_CHECKING:
    from collections.abc import Sequence

    from droplora_sweep.export.compression import KeptRank, RankPoint
    from droplora_sweep.records.trial import TrialRecord

_ROUNDING = 1e-9


def curve_table(trial: TrialRecord, points: Sequence[RankPoint]) -> Table:
    """One row per rank, the adapter as trained first; scores in percent."""
    names = [*trial.spec["task"]["benchmarks"], "mean"]
    table = Table(title=f"{trial.trial_id} at lower ranks: validation accuracy in %")
    for name in ("rank", "parameters", "file", "error of the update", *names):
        table.add_column(name, justify="right")
    for index, point in enumerate(points):
        table.add_row(
            str(point.rank) if index else f"{point.rank}, as trained",
            format_count(point.num_parameters),
            format_bytes(point.weight_bytes),
            f"{point.relative_error:.1%}",
            *(format_score(point.scores.get(name)) for name in names),
        )
    return table


def curve_text(trial: TrialRecord, points: Sequence[RankPoint], kept: KeptRank | None) -> list[str]:
    """What the curve comes to, and whether its first row is what the sweep logged."""
    full = points[0]
    lines = []
    logged = trial.metrics.get("val/mean")
    if logged is not None and abs(logged - full.scores["mean"]) > _ROUNDING:
        lines.append(
            f"rank {full.rank}, as trained, has {full.scores['mean']:.2%} here and {logged:.2%} "
            "in the sweep: another machine, other packages or other data"
        )
    if len(points) == 1:
        return lines
    if kept is None:
        lines.append(f"no lower rank is within one point of rank {full.rank} on the mean")
    else:
        doubt = "" if kept.is_sure else "a larger loss is not ruled out, "
        lines.append(
            f"rank {kept.rank} is the lowest within one point of rank {full.rank} on the mean: "
            f"{kept.difference.as_difference}; {doubt}the 95 % interval is paired "
            "and covers the choice of examples alone"
        )
    return lines
