"""Methods side by side, as in the paper's tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from droplora_sweep.present.values import UNKNOWN, format_params, format_score

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from droplora_sweep.analysis.intervals import Estimate
    from droplora_sweep.analysis.methods import MethodRow, MethodTable


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
