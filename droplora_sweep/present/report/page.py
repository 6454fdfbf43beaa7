"""A ledger's report: one HTML file that needs nothing else, a PNG per figure, and its data.

The page has no script, loads nothing, and says so to the browser by a content security policy.
Everything that comes from a ledger is escaped.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from droplora_sweep.analysis.comparisons import BASELINE_SUFFIX
from droplora_sweep.analysis.exploration import marginal_text
from droplora_sweep.analysis.text import CAVEAT, confirmed_caveat
from droplora_sweep.analysis.winners import adapters_text
from droplora_sweep.files import disk_faults_named, make_private_directory, replace_file
from droplora_sweep.present.contents.answers import Certainty, answers
from droplora_sweep.present.contents.coordinates import coordinates
from droplora_sweep.present.contents.costs import costs, measures_table
from droplora_sweep.present.contents.differences import (
    SURE_TEXT,
    answer_differences,
    difference_table,
)
from droplora_sweep.present.contents.facts import facts_of, settings_table
from droplora_sweep.present.contents.headline import headline, next_step
from droplora_sweep.present.contents.importance import importance
from droplora_sweep.present.contents.learning import RungPanel, curve_panels, rungs
from droplora_sweep.present.contents.rates import rank_panels, rate_panels
from droplora_sweep.present.contents.results import (
    answers_table,
    confirmed_tables,
    methods_table,
    on_test_table,
    pareto_table,
    rates_table,
)
from droplora_sweep.present.contents.trials import trials_tables
from droplora_sweep.present.figures.scores import (
    draw_coordinates,
    draw_importance,
    draw_ranks,
    draw_rates,
)
from droplora_sweep.present.figures.trials import draw_costs, draw_curves, draw_rungs
from droplora_sweep.present.markup import template
from droplora_sweep.records.layout import REPORT_DATA, REPORT_PAGE
from droplora_sweep.records.trial import SweepOutcome
from droplora_sweep.redaction import redact

from .data import report_data

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from droplora_sweep.ledger.reader import Ledger
    from droplora_sweep.present.contents.costs import Costs
    from droplora_sweep.present.contents.differences import Difference
    from droplora_sweep.present.contents.facts import Facts
    from droplora_sweep.present.contents.importance import Importance
    from droplora_sweep.present.contents.table import Table
    from droplora_sweep.present.figures.canvas import Described, Picture
    from droplora_sweep.records.trial import SweepRecord


TEMPLATE = "page.html.j2"


@dataclass(frozen=True)
class Report:
    """A report that can be written anywhere.

    Attributes:
        html: The page.
        data: Its tables and figures for other programs, as JSON.
        images: PNG files by name.
    """

    html: str
    data: str
    images: Mapping[str, bytes]


def make_report(facts: Facts, examples: Sequence[Difference] = ()) -> Report:
    """Make the report of a sweep in any state; the same facts give the same bytes.

    Args:
        facts: The sweep.
        examples: The answers against p = 0, example by example.
    """
    found = answers(facts)
    shares = importance(facts)
    spent = costs(facts)
    withheld = {one.subject for one in found if one.certainty is Certainty.NOTHING}
    figures = tuple(_figures(facts, shares, spent))
    pictures = {picture.name: picture for _, picture in figures}
    tables: dict[str, Table | Sequence[Table] | None] = {
        "answers_table": answers_table(found),
        "confirmed_tables": confirmed_tables(facts),
        "on_test_table": on_test_table(facts.on_test, facts.references.get("test", ())),
        "methods_table": None if facts.methods is None else methods_table(facts.methods),
        "pareto_table": pareto_table(facts.searched, facts.objectives),
        "rates_table": rates_table(facts),
        "example_tables": [difference_table(one) for one in examples],
        "measures_table": measures_table(facts.record),
        "trials_tables": trials_tables(facts.record, is_live=facts.is_live),
        "settings_table": settings_table(facts.record),
    }
    html = template(__package__, TEMPLATE).render(
        facts=facts,
        record=facts.record,
        state=_state(facts),
        headline=headline(found),
        answers=found,
        worth=list(_worth(facts)),
        next_step=next_step(facts, found),
        has_controls=any(one.controls for one in facts.confirmed),
        has_unpruned_names=any(
            one.arm.name.endswith(BASELINE_SUFFIX)
            for decision in facts.confirmed
            for one in (*decision.rates, *decision.controls)
        ),
        sure_text=SURE_TEXT,
        marginals=[
            marginal_text(one)
            for one in facts.marginals
            if one.points and one.benchmark not in withheld
        ],
        importance=shares,
        costs=spent,
        pictures=pictures,
        **tables,
    )
    panels = {picture.name: panels for panels, picture in figures}
    return Report(
        html,
        report_data(facts.record.name, tables.values(), panels, headline(found).advice),
        {f"{name}.png": one.png for name, one in pictures.items()},
    )


NUM_EXAMPLES = 5
"""Examples of each benchmark that a report shows."""


def report_of(ledger: Ledger, record: SweepRecord | None = None) -> Report:
    """Make a sweep's report with all that its ledger, and its data where it is here, tell.

    Args:
        ledger: The sweep's.
        record: Its record, where that is to be shown otherwise than it is.

    Raises:
        SweepError: Results cannot be read.
    """
    facts = facts_of(ledger, record)
    return make_report(facts, answer_differences(ledger, facts, NUM_EXAMPLES))


def _worth(facts: Facts) -> Iterator[str]:
    """Yield what the decisions are worth, and the adapters that go with them, as `best` does."""
    if not facts.decisions:
        return
    if not facts.confirmed:
        yield CAVEAT
    elif not all(one.is_withheld for one in facts.confirmed):
        yield confirmed_caveat(facts.confirmed)
    if named := adapters_text(facts.winners):
        yield named


def _figures(
    facts: Facts, shares: Importance, spent: Costs
) -> Iterator[tuple[Sequence[Described], Picture]]:
    """The figures that there is something to draw for, each with its panels' data."""
    if rates := rate_panels(facts):
        yield rates, draw_rates(rates)
    if ranks := rank_panels(facts):
        yield ranks, draw_ranks(ranks)
    if (lines := coordinates(facts)) is not None:
        yield (lines,), draw_coordinates(lines)
    if shares.shares:
        yield (shares,), draw_importance(shares)
    if curves := curve_panels(facts):
        yield curves, draw_curves(curves)
    if len(steps := rungs(facts)) > 1:
        panel = RungPanel(steps)
        yield (panel,), draw_rungs(panel)
    if spent.spans:
        yield (spent,), draw_costs(spent)


def _state(facts: Facts) -> str:
    record = facts.record
    if facts.is_live:
        return "running"
    if record.outcome is None:
        return "interrupted: its driver died"
    return record.outcome.lower() + (f": {record.reason}" if record.reason else "")


def write_report(report: Report, folder: Path) -> Path:
    """Write page, data and images, each whole or not at all; files of these names are replaced.

    Returns:
        The page.

    Raises:
        SweepError: The file system refuses.
    """
    with disk_faults_named(folder):
        make_private_directory(folder)
        for name, image in report.images.items():
            replace_file(folder / name, image)
        replace_file(folder / REPORT_DATA, redact(report.data).encode())
        # Last: a page that is there has its images.
        replace_file(folder / REPORT_PAGE, redact(report.html).encode())
    return folder / REPORT_PAGE


def leave_report(ledger: Ledger) -> str | None:
    """Write the report of a sweep that is about to be complete beside its summary.

    Returns:
        Why there is none, in a line, or None. Nothing is raised: see `try_to_write`.
    """

    def make() -> Report:
        record = replace(ledger.record, outcome=SweepOutcome.COMPLETE)
        return report_of(ledger, record)

    problem = try_to_write(make, ledger.summary_directory)
    return problem and f"no report ({problem}); `droplora-sweep report` makes it later"


def try_to_write(make: Callable[[], Report], folder: Path) -> str | None:
    """Make and write a report that can be made again at any time; why that failed, or None."""
    try:
        write_report(make(), folder)
    # Blind on purpose: whatever goes wrong in drawing, the results are safe in the ledger, and a
    # sweep that took days must not fail for lack of a picture.
    except Exception as error:  # noqa: BLE001
        first_line = str(error).strip().partition("\n")[0]
        return redact(f"{type(error).__name__}: {first_line}")
    return None
