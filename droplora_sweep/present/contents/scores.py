"""Scores outside a sweep, and an adapter's scores at lower ranks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from droplora_sweep.analysis.intervals import ROUNDING, mean_score
from droplora_sweep.evaluation.results import bits_per_byte, example_scores
from droplora_sweep.present.values import (
    DASH,
    format_bytes,
    format_count,
    format_score,
    score_word,
)
from droplora_sweep.spec.metric_names import (
    HIGH,
    LOW,
    MEAN,
    PASS_AT,
    PERPLEXITY_AFTER,
    PERPLEXITY_BEFORE,
    PERPLEXITY_RATIO,
    RATING,
    UNRATED,
    by_benchmark,
    score_name,
)

from .table import Cell, Table, row, score_cell
from .trials import long_prompts_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from droplora_sweep.export.compression import KeptRank, RankPoint
    from droplora_sweep.export.scoring import Scored
    from droplora_sweep.records.trial import TrialRecord


def scores_table(scored: Scored, on_long_prompt: str) -> Table:
    """Return a row per benchmark with its 95 % interval, and their unweighted mean.

    Args:
        scored: The scores.
        on_long_prompt: ``drop`` or ``truncate``, for prompts that the context cannot hold.
    """
    bits = bits_per_byte(
        (one.benchmark, one.example_id, one.reference_log_probability, one.reference_bytes)
        for one in scored.results
    )
    outcomes = example_scores((one.benchmark, one.example_id, one.score) for one in scored.results)
    names = dict.fromkeys(one.benchmark for one in scored.results)
    rows = []
    for name in names:
        known = [score for score in outcomes[name].values() if score is not None]
        score = mean_score(known) if known else scored.scores[name]
        count = Cell(f"{len(known):,}", value=len(known))
        rows.append(row(name, count, score_cell(score), *_bits_cells(bits, name)))
    if len(names) > 1:
        rows.append(row(MEAN, "", score_cell(scored.scores[MEAN]), *_bits_cells(bits, MEAN)))
    protocol = f"{scored.protocol} protocol, 95 % intervals"
    word = "accuracy" if all(one.credit is None for one in scored.results) else "score"
    title = f"{scored.what}: {word} on the {scored.split} split ({protocol})"
    notes = [
        *_further_lines(scored),
        *([_perplexity_text(scored.perplexity)] if scored.perplexity else []),
        *long_prompts_text(scored.num_long, on_long_prompt),
    ]
    columns = ("benchmark", "examples", word, *(("bits per byte",) if bits else ()))
    return Table(title, columns, tuple(rows), tuple(notes))


def _bits_cells(bits: Mapping[str, float], name: str) -> list[Cell]:
    """Return the cell of the references' likelihood; none where no benchmark has it."""
    value = bits.get(name)
    return [Cell(DASH if value is None else f"{value:.4f}", value=value)] if bits else []


def _further_lines(scored: Scored) -> list[str]:
    """Return what the table has no column for: further metrics, missing ratings, agreement."""
    lines = [
        f"{name}: {value:.2f} of 10" if name.startswith(RATING) else f"{name}: {value:.1%}"
        for name, value in scored.metrics.items()
        if name.startswith((RATING, PASS_AT))
    ]
    lines += [
        f"{name}: {value:.4g} ({scored.metrics[name + LOW]:.4g} to "
        f"{scored.metrics[name + HIGH]:.4g})"
        for name, value in scored.metrics.items()
        if name + LOW in scored.metrics
    ]
    for benchmark, count in by_benchmark(scored.metrics, UNRATED).items():
        if count:
            notes = [one.note for one in scored.results if one.note and one.rating is None]
            lines.append(f"{benchmark}: {count:.0f} answers have no rating: {notes[0]}")
    if scored.generated is not None:
        for name, found in scored.agreements().items():
            share = DASH if found.fraction is None else f"{found.fraction:.1%}"
            lines.append(
                f"{name}: scored options agree with generation in {share} of "
                f"{found.num_examples - found.num_unparsable} examples "
                f"({found.num_unparsable} unparsable)"
            )
    return lines


def _perplexity_text(metrics: Mapping[str, float]) -> str:
    """Return the perplexity of a held-out text, before and after where both are known."""
    if "perplexity" in metrics:
        return f"perplexity of the held-out text: {metrics['perplexity']:.4g}"
    before, after = metrics[PERPLEXITY_BEFORE], metrics[PERPLEXITY_AFTER]
    ratio = metrics[PERPLEXITY_RATIO]
    return f"perplexity of the held-out text: {before:.4g} before, {after:.4g} after ({ratio:.3f}x)"


def curve_table(trial: TrialRecord, points: Sequence[RankPoint], kept: KeptRank | None) -> Table:
    """Return a row per rank, the adapter as trained first, and what they come to."""
    names = [*trial.spec["task"]["benchmarks"], MEAN]
    rows = (
        row(
            str(point.rank) if index else f"{point.rank}, as trained",
            Cell(format_count(point.num_parameters), value=point.num_parameters),
            Cell(format_bytes(point.weight_bytes), value=point.weight_bytes),
            Cell(format_score(point.relative_error), value=point.relative_error),
            *(score_cell(point.scores.get(name)) for name in names),
        )
        for index, point in enumerate(points)
    )
    columns = ("rank", "parameters", "file", "error of the update", *names)
    word = score_word(trial.spec["task"])
    title = f"{trial.trial_id} at lower ranks: {word} on the validation split"
    return Table(title, columns, tuple(rows), tuple(_curve_lines(trial, points, kept)))


def _curve_lines(
    trial: TrialRecord, points: Sequence[RankPoint], kept: KeptRank | None
) -> list[str]:
    full = points[0]
    lines = []
    logged = trial.metrics.get(score_name(MEAN))
    if logged is not None and abs(logged - full.scores[MEAN]) > ROUNDING:
        lines.append(
            f"rank {full.rank}, as trained, has {full.scores[MEAN]:.2%} here and {logged:.2%} "
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
