"""Tables of what was confirmed, and of what the winners score on the test split."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from droplora_sweep.analysis.confirmed_text import arm_labels
from droplora_sweep.analysis.references import UNTRAINED
from droplora_sweep.present.values import UNKNOWN, format_score

if TYPE_CHECKING:
    from collections.abc import Sequence

    from droplora_sweep.analysis.confirmed import ConfirmedDecision
    from droplora_sweep.analysis.intervals import Estimate
    from droplora_sweep.analysis.on_test import WinnerOnTest
    from droplora_sweep.analysis.references import ReferenceRow
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
