"""Facts -> one HTML file that needs nothing else, and a PNG per figure.

The page has no script, loads nothing, and says so to the browser by a content security policy.
Everything that comes from a ledger is escaped.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from droplora_sweep.analysis.exploration import marginal_text
from droplora_sweep.analysis.finalists import BASELINE_SUFFIX
from droplora_sweep.present.contents.coordinates import coordinates
from droplora_sweep.present.contents.costs import costs
from droplora_sweep.present.contents.courses import curve_panels, rungs, rungs_alt
from droplora_sweep.present.contents.importance import importance
from droplora_sweep.present.contents.ranks import rank_panels
from droplora_sweep.present.contents.rates import rate_panels
from droplora_sweep.present.figures.coordinates import draw_coordinates
from droplora_sweep.present.figures.costs import draw_costs
from droplora_sweep.present.figures.courses import draw_curves, draw_rungs
from droplora_sweep.present.figures.importance import draw_importance
from droplora_sweep.present.figures.ranks import draw_ranks
from droplora_sweep.present.figures.rates import draw_rates
from droplora_sweep.present.wording import hours, moment, quantity

from .answers import Certainty, answers
from .headline import headline
from .method_rows import methods_table, methods_text
from .next_step import next_step
from .pareto_rows import pareto_table
from .settings import setting_rows
from .tables import answers_table, confirmed_table, on_test_table, rates_table, trials_table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import jinja2

    from droplora_sweep.present.contents.costs import Costs
    from droplora_sweep.present.contents.importance import Importance
    from droplora_sweep.present.figures.canvas import Picture

    from .facts import Facts

TEMPLATE = "page.html.j2"


@dataclass(frozen=True)
class Report:
    """A report that can be written anywhere.

    Attributes:
        html: The page.
        images: PNG files by name.
    """

    html: str
    images: Mapping[str, bytes]


def make_report(facts: Facts) -> Report:
    """Make the report of a sweep in any state; the same facts give the same bytes."""
    found = answers(facts)
    shares = importance(facts)
    spent = costs(facts)
    withheld = {one.subject for one in found if one.certainty is Certainty.NOTHING}
    pictures = {picture.name: picture for picture in _pictures(facts, shares, spent)}
    html = _template().render(
        facts=facts,
        record=facts.record,
        state=_state(facts),
        headline=headline(found),
        answers=found,
        answers_table=answers_table(found),
        next_step=next_step(facts, found),
        confirmed_tables=[
            confirmed_table(one, facts.references.get(facts.decided_on, ()))
            for one in facts.confirmed
            if one.rates
        ],
        has_controls=any(one.controls for one in facts.confirmed),
        has_unpruned_names=any(
            one.arm.name.endswith(BASELINE_SUFFIX)
            for decision in facts.confirmed
            for one in (*decision.rates, *decision.controls)
        ),
        on_test_table=on_test_table(facts.on_test, facts.references.get("test", ()))
        if facts.on_test
        else None,
        rates_table=rates_table(facts),
        methods_table=None if facts.methods is None else methods_table(facts.methods),
        pareto_table=pareto_table(facts),
        methods_notes=[] if facts.methods is None else methods_text(facts.methods),
        trials_table=trials_table(facts),
        marginals=[
            marginal_text(one)
            for one in facts.marginals
            if one.points and one.benchmark not in withheld
        ],
        importance=shares,
        costs=spent,
        settings=setting_rows(facts.record),
        pictures=pictures,
    )
    return Report(html, {f"{name}.png": one.png for name, one in pictures.items()})


def _pictures(facts: Facts, shares: Importance, spent: Costs) -> Iterator[Picture]:
    """The figures that there is something to draw for."""
    rates = rate_panels(facts)
    if any(panel.points for panel in rates):
        yield draw_rates([panel for panel in rates if panel.points])
    if ranks := rank_panels(facts):
        yield draw_ranks(ranks)
    if (lines := coordinates(facts)) is not None:
        yield draw_coordinates(lines)
    if shares.shares:
        yield draw_importance(shares)
    if curves := curve_panels(facts):
        yield draw_curves(curves)
    if len(steps := rungs(facts)) > 1:
        yield draw_rungs(steps, rungs_alt(steps))
    if spent.spans:
        yield draw_costs(spent)


def _state(facts: Facts) -> str:
    record = facts.record
    if facts.is_live:
        return "running"
    if record.outcome is None:
        return "interrupted: its driver died"
    return record.outcome.lower() + (f": {record.reason}" if record.reason else "")


def _unbroken(value: object) -> object:
    """Text in which no line ends within ``p = 0.2``; markup as it is."""
    return (
        value.replace("p = ", "p\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}")
        if type(value) is str
        else value
    )


@cache
def _template() -> jinja2.Template:
    import jinja2

    loader = jinja2.FunctionLoader(
        lambda name: files(__package__).joinpath("template", name).read_text("utf-8")
    )
    environment = jinja2.Environment(
        loader=loader,
        autoescape=True,
        finalize=_unbroken,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(hours=hours, moment=moment, quantity=quantity)
    return environment.get_template(TEMPLATE)
