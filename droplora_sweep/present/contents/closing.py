"""The last lines of a command: what to use for each benchmark, how sure that is, what to run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from droplora_sweep.present.values import DASH

from .answers import answers
from .headline import next_step
from .table import Cell, Table, gain_cell, row

if TYPE_CHECKING:
    from .answers import Answer
    from .facts import Facts
    from .table import Row


@dataclass(frozen=True)
class Closing:
    """A sweep's answer at a glance; its reasons are in the report.

    Attributes:
        table: A row per subject: benchmark, what to use, gain over p = 0, how sure.
        sentence: What to do next.
    """

    table: Table
    sentence: str


COLUMNS = ("benchmark", "use", "gain over p = 0", "how sure")


def closing(facts: Facts) -> Closing:
    """Return the answer of a sweep in any state."""
    found = answers(facts)
    table = Table("What to use", COLUMNS, tuple(map(_row, found)))
    return Closing(table, next_step(facts, found).text)


def _row(answer: Answer) -> Row:
    rate = answer.pruning_rate
    # The gain of a rate above 0: where p = 0 is used, of the best rate that was compared with it.
    other = "" if answer.gain is None or answer.gain_of == rate else f"for p = {answer.gain_of:g}"
    return row(
        answer.subject,
        DASH if rate is None else Cell(f"p = {rate:g}", answer.settings, value=rate),
        gain_cell(answer.least_gain, other),
        f"{answer.certainty.mark} {answer.certainty.short}",
    )
