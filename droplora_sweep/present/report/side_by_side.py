"""A comparison of sweeps for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from droplora_sweep.present.wording import DASH, interval, points, score

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .answers import Answer
    from .comparison import Row, Side

MOST_SETTINGS = 12


def comparison_table(labels: Sequence[str], rows: Sequence[Row]) -> Table:
    """Each sweep's answer per benchmark, and each sweep but the first minus the first."""
    first, *others = (escape(label) for label in labels)
    table = Table(title="Which rate each sweep answers", show_lines=True)
    table.add_column("benchmark")
    for label in (first, *others):
        table.add_column(label)
    for label in others:
        table.add_column(f"{label} minus {first}")
    for row in rows:
        cells = [_answer(one) for one in row.answers]
        table.add_row(escape(row.subject), *cells, *map(_side_text, row.sides))
    return table


def settings_lines(
    labels: Sequence[str], different: Sequence[tuple[str, tuple[str, ...]]]
) -> list[str]:
    """What the sweeps were told differently, a line each; the rest is counted."""
    if not different:
        return ["They were told the same but for what was searched."]
    lines = [f"They were told differently ({', '.join(labels)}):"]
    lines += [f"  {path}: {' | '.join(texts)}" for path, texts in different[:MOST_SETTINGS]]
    if len(different) > MOST_SETTINGS:
        lines.append(f"  and {len(different) - MOST_SETTINGS} settings more")
    return lines


def _answer(answer: Answer | None) -> str:
    if answer is None or answer.pruning_rate is None:
        return DASH if answer is None else escape(answer.verdict)
    shown = f"{score(answer.score)} {interval(answer.score)}".rstrip()
    sure = f"{answer.certainty.mark} {answer.certainty}"
    where = f"{answer.split} split, {answer.num_seeds} seed{'s' * (answer.num_seeds != 1)}"
    return f"p = {answer.pruning_rate:g}: {escape(shown)}\n{where}\n{sure} ({escape(answer.trial)})"


def _side_text(side: Side) -> str:
    if side.contrast is None:
        return escape(side.how)
    shown = points(side.contrast.difference)
    if side.contrast.p_value is not None:
        shown = f"{shown}, p-value {side.contrast.p_value:.2g}"
    return "\n".join(map(escape, filter(None, [shown, side.compared, side.how])))


def caveat(rows: Sequence[Row]) -> str | None:
    """What differences between answers of searches are worth; None where all are confirmed."""
    if all(
        side.contrast is None or side.contrast.num_seeds > 1 for row in rows for side in row.sides
    ):
        return None
    return (
        "Best trials were picked on the examples that score them, and each has one seed: a "
        "difference covers neither the picking nor the luck of a seed."
    )
