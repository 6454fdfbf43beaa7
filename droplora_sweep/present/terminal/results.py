"""Tables of results: confirmed rates, test scores, methods, the Pareto front."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from droplora_sweep.analysis.grounds import UNTRAINED
from droplora_sweep.analysis.text import arm_labels
from droplora_sweep.present.values import (
    UNKNOWN,
    format_count,
    format_params,
    format_score,
    format_seconds,
)
from droplora_sweep.spec.search import COSTS, is_maximized

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from droplora_sweep.analysis.confirmed import ConfirmedDecision
    from droplora_sweep.analysis.grounds import ReferenceRow
    from droplora_sweep.analysis.intervals import Estimate
    from droplora_sweep.analysis.methods import MethodRow, MethodTable
    from droplora_sweep.analysis.on_test import WinnerOnTest
    from droplora_sweep.analysis.ranking import ParetoPoint
    from droplora_sweep.analysis.variance_components import Difference


def arms_table(
    decisions: Sequence[ConfirmedDecision], references: Sequence[ReferenceRow] = ()
) -> Table:
    """Every confirmed rate of every benchmark, then what it has to beat; a star marks what to use.

    Args:
        decisions: One per benchmark.
        references: What needs no training, on the same examples.
    """
    table = Table(title="Confirmed rates, in % with 95 % intervals over new seeds and new examples")
    has_controls = any(decision.controls for decision in decisions)
    own = ("against its own p = 0",) if has_controls else ()
    columns = ("benchmark", "pruning rate", "setting of", "mean", "against p = 0", *own)
    for column in (*columns, "best of all"):
        table.add_column(column, justify="left" if column == "setting of" else "right")
    for decision in decisions:
        labels = arm_labels(decision)
        for index, rate in enumerate((*decision.rates, *decision.controls)):
            is_recommended = rate.arm == decision.recommended
            cells = (
                decision.benchmark if index == 0 else "",
                labels[rate.arm.name].removeprefix("p = ") + " *" * is_recommended,
                rate.arm.name,
                _interval(rate.mean),
                _difference(rate.difference) + " !" * (rate.is_clear and not decision.is_withheld),
                *([_difference(rate.own_difference)] if has_controls else []),
                f"{rate.probability_best:.0%}",
            )
            table.add_row(*cells, style="bold" if is_recommended else None)
        for row in references:
            if row.benchmark == decision.benchmark:
                score = format_score(row.score) if row.estimate is None else _interval(row.estimate)
                table.add_row("", UNKNOWN, row.label, score, style="dim")
        table.add_section()
    table.caption = "*: use this one; !: clearly different, for all rates together"
    return table


def on_test_table(tested: Sequence[WinnerOnTest], references: Sequence[ReferenceRow] = ()) -> Table:
    """The recommended rate of each benchmark on the test split, beside p = 0.

    Args:
        tested: One per benchmark.
        references: What needs no training, on the test split.
    """
    untrained = {row.benchmark: row.score for row in references if row.label == UNTRAINED}
    table = Table(title="Test split, in %, scored once after the decision")
    own = (UNTRAINED,) if untrained else ()
    for column in ("benchmark", "pruning rate", "score", "p = 0", "difference", *own):
        table.add_column(column, justify="right")
    for one in tested:
        table.add_row(
            one.benchmark,
            f"{one.arm.pruning_rate:g}",
            format_score(one.score),
            format_score(one.baseline_score),
            _interval(one.difference, "+z.1f"),
            *(format_score(untrained.get(one.benchmark)) for _ in own),
        )
    return table


def _difference(difference: Difference | None) -> str:
    return _interval(None if difference is None else difference.estimate, "+z.1f")


def _interval(estimate: Estimate | None, shown: str = ".1f") -> str:
    if estimate is None:
        return UNKNOWN
    value, low, high = (100 * one for one in (estimate.value, estimate.low, estimate.high))
    return f"{value:{shown}} \\[{low:{shown}}, {high:{shown}}]"


def methods_table(found: MethodTable) -> Table:
    """The best setting of each variant, in percent; the paper's numbers below, where it has any."""
    table = Table(title="Best setting of each method, in % with 95 % intervals (validation)")
    table.add_column("method")
    for name in found.benchmarks:
        table.add_column(name, justify="right")
    table.add_column("less the reference", justify="right")
    table.add_column("trials", justify="right")
    table.add_column("best setting")
    for index, row in enumerate(found.rows):
        is_reference = index == found.reference
        table.add_row(
            format_params(row.variant),
            *(_score(row, name) for name in found.benchmarks),
            "reference" if is_reference else _gain(row.difference),
            str(row.num_trials),
            UNKNOWN if row.best is None else f"{row.best[:5]} {format_params(row.settings)}",
        )
        if (printed := paper_numbers(row, found.benchmarks)) is not None:
            source, *numbers = printed
            table.add_row(f"[dim]  {source}[/dim]", *(f"[dim]{one}[/dim]" for one in numbers))
    return table


def methods_notes(found: MethodTable) -> Iterator[str]:
    """What the table's numbers are, and are not."""
    yield (
        "Exploratory: each row is the best of its trials, on the examples that chose it, with one "
        "seed; intervals and paired differences cover the choice of examples alone."
    )
    if len({row.num_trials for row in found.rows}) > 1:
        yield (
            "Not every method has had as many trials; the best of more is higher by luck alone. "
            "`search.compare` gives each the same number."
        )
    if any(paper_numbers(row, found.benchmarks) for row in found.rows):
        yield (
            "The paper's numbers are of the test split, one run each (arXiv 2508.17337); ours are "
            "of the validation split."
        )
    compared = [row.paper for row in found.rows if row.paper is not None]
    differences = dict.fromkeys(one for paper in compared for one in paper.differences)
    if differences:
        which = "" if all(paper.differences for paper in compared) else " of other rows"
        yield (
            f"The paper's numbers{which} are not shown, since they are of something else: "
            f"{'; '.join(differences)}."
        )
    for reason in dict.fromkeys(one for paper in compared for one in paper.other_sets):
        yield f"No number of the paper's stands beside it: {reason}."


def paper_numbers(row: MethodRow, benchmarks: Sequence[str]) -> tuple[str, ...] | None:
    """The paper's table and its number under each benchmark; None where it has none of them."""
    result = None if row.paper is None else row.paper.result
    if result is None:
        return None
    percents = [result.percent(name) for name in benchmarks]
    if not any(one is not None for one in percents):
        return None
    source = f"paper, {result.source}" + " (cited)" * (not result.own_run)
    return (source, *("" if one is None else f"{one:.2f}" for one in percents))


def _score(row: MethodRow, name: str) -> str:
    interval = row.intervals.get(name)
    if interval is None:
        return format_score(row.scores.get(name))
    return f"{100 * interval.value:.1f} [{100 * interval.low:.1f}, {100 * interval.high:.1f}]"


def _gain(difference: Estimate | None) -> str:
    if difference is None:
        return UNKNOWN
    low, high = 100 * difference.low, 100 * difference.high
    return f"{100 * difference.value:+z.1f} [{low:+z.1f}, {high:+z.1f}]"


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
