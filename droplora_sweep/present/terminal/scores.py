"""Tables of scores outside a sweep, and of an adapter's score at lower ranks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from droplora_sweep.analysis.intervals import mean_score
from droplora_sweep.evaluation.results import example_scores
from droplora_sweep.present.values import (
    UNKNOWN,
    format_bytes,
    format_count,
    format_score,
    long_prompts_text,
    perplexity_text,
)
from droplora_sweep.spec.metric_names import (
    MEAN,
    PASS_AT,
    RATING,
    UNRATED,
    by_benchmark,
    score_name,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from droplora_sweep.export.compression import KeptRank, RankPoint
    from droplora_sweep.export.scoring import Scored
    from droplora_sweep.records.trial import TrialRecord


def scores_table(scored: Scored) -> Table:
    """One row per benchmark with its 95 % interval, and their unweighted mean."""
    outcomes = example_scores((one.benchmark, one.example_id, one.score) for one in scored.results)
    names = dict.fromkeys(one.benchmark for one in scored.results)
    title = (
        f"{scored.what}: accuracy on the {scored.split} split, in % ({scored.protocol} protocol)"
    )
    table = Table(title=title)
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


def further_lines(scored: Scored) -> list[str]:
    """What the table has no column for: ratings, pass@k, missing ratings, agreement."""
    lines = [
        f"{name}: {value:.2f} of 10" if name.startswith(RATING) else f"{name}: {value:.1%}"
        for name, value in scored.metrics.items()
        if name.startswith((RATING, PASS_AT))
    ]
    for benchmark, count in by_benchmark(scored.metrics, UNRATED).items():
        if count:
            notes = [one.note for one in scored.results if one.note is not None]
            lines.append(f"{benchmark}: {count:.0f} answers have no rating: {notes[0]}")
    if scored.generated is not None:
        for name, found in scored.agreements().items():
            share = UNKNOWN if found.fraction is None else f"{found.fraction:.1%}"
            lines.append(
                f"{name}: scored options agree with generation in {share} of "
                f"{found.num_examples - found.num_unparsable} examples "
                f"({found.num_unparsable} unparsable)"
            )
    return lines


def scores_notes(scored: Scored, on_long_prompt: str) -> list[str]:
    """What the table does not say: the held-out text's perplexity, prompts that did not fit."""
    notes = [perplexity_text(scored.perplexity)] if scored.perplexity else []
    return [*notes, *long_prompts_text(scored.num_long, on_long_prompt)]


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
    logged = trial.metrics.get(score_name(MEAN))
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
