"""The page's HTML: a sweep at one moment, and one of its trials with the form that clones it.

Everything is escaped by the template, and what a ledger says is never part of a script or a style.
A ledger holds no secret, and other texts come without them: the page's own token must stay.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from droplora_sweep.present.contents.facts import leaves, setting_text
from droplora_sweep.present.contents.spending import spending_table, time_now
from droplora_sweep.present.contents.table import Table, row
from droplora_sweep.present.contents.trials import stage_text, trials_notes, trials_tables
from droplora_sweep.present.markup import template
from droplora_sweep.present.terminal.status import state_text
from droplora_sweep.present.values import format_metric, format_params, format_seconds
from droplora_sweep.records.trial import Stage, SweepOutcome
from droplora_sweep.spec.metric_names import is_likelihood, is_score

from .charts import HEIGHT, LEFT, TOP, WIDTH, curve_charts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from droplora_sweep.records.trial import SweepRecord, TrialRecord

    from .asking import Asked
    from .watcher import Moment

FEW_TRIALS = 30
"""Of more trials the page shows the list where it is asked for."""
BOX = {"width": WIDTH, "height": HEIGHT, "left": LEFT, "top": TOP}


@dataclass(frozen=True, kw_only=True)
class Reader:
    """The one whom a page is for.

    Attributes:
        token: Makes the page's addresses and its forms its reader's own.
        can_control: True where the server passes requests on.
    """

    token: str
    can_control: bool

    def link(self, path: str, **query: str) -> str:
        """Return an address of the page."""
        return f"{path}?{urlencode({**query, 'token': self.token})}"


@dataclass(frozen=True, kw_only=True)
class Running:
    """A trial that runs, as the page shows it.

    Attributes:
        trial_id: Its id.
        settings: Its searched values.
        step: Steps done; None where that is not known here.
        num_steps: Steps in all.
        text: Its progress in words.
        score: The last value of what the search follows.
        is_steered: True where it can be stopped and pinned: one of the search that was neither.
        is_pinned: True where it was pinned.
        is_stopping: True where it was told to stop.
    """

    trial_id: str
    settings: str
    step: int | None
    num_steps: int
    text: str
    score: str
    is_steered: bool
    is_pinned: bool
    is_stopping: bool


def render(moment: Moment, reader: Reader, asked: Sequence[Asked], poll_s: float) -> str:
    """Return the page of a sweep.

    Args:
        moment: The sweep.
        reader: The one whom it is for.
        asked: Requests so far, the latest first.
        poll_s: Seconds after which it is asked for again.
    """
    look = moment.look
    record, is_live = look.ledger.record, look.holder is not None
    curves = curve_charts(record)
    return template(__package__, "page.html.j2").render(
        record=record,
        reader=reader,
        is_live=is_live,
        is_over=not is_live and record.outcome in (SweepOutcome.COMPLETE, SweepOutcome.FAILED),
        state=_after_word(state_text(look.ledger, look.holder, look.live)),
        moment=moment,
        answer=moment.answer,
        running=running_trials(moment),
        why_no_controls=_why_no_controls(moment, reader),
        spending=spending_table(record, look.live, time_now(is_live)),
        curves=curves,
        tables=trials_tables(record, is_live=is_live, live=look.live),
        notes=trials_notes(record),
        links={trial.trial_id: reader.link("/trial", id=trial.trial_id) for trial in record.trials},
        few_trials=FEW_TRIALS,
        asked=asked,
        poll_s=poll_s,
        box=BOX,
    )


def render_trial(
    moment: Moment,
    reader: Reader,
    trial: TrialRecord,
    asked: Asked | None = None,
    form: Mapping[str, str] | None = None,
) -> str:
    """Return the page of one trial, with the form that clones it.

    Args:
        moment: The sweep.
        reader: The one whom it is for.
        trial: The trial.
        asked: The request that was refused; None where there was none.
        form: What was filled in then.
    """
    record = moment.look.ledger.record
    return template(__package__, "trial.html.j2").render(
        record=record,
        reader=reader,
        trial=trial,
        settings=format_params(trial.params),
        evaluations=_evaluations_table(record, trial),
        spec=_settings_table(trial),
        why_no_controls=_why_no_controls(moment, reader),
        asked=asked,
        form=form or {},
        can_start_there=trial.adapter is not None,
    )


def render_refusal(text: str) -> str:
    """Return a page that says in one sentence why there is none."""
    return template(__package__, "refusal.html.j2").render(text=text)


def running_trials(moment: Moment) -> tuple[Running, ...]:
    """Return the trials that run now; none where no driver works on the sweep."""
    look = moment.look
    record = look.ledger.record
    if look.holder is None:
        return ()
    unfinished = [
        trial for trial in record.trials if not trial.is_finished and not trial.is_to_be_retried
    ]
    return tuple(_running(trial, moment, record) for trial in unfinished)


def _after_word(state: str) -> str:
    """Return a state without the word that the page has before it."""
    return state.removeprefix("running ").removeprefix("interrupted, ")


def _running(trial: TrialRecord, moment: Moment, record: SweepRecord) -> Running:
    live = moment.look.live
    progress = None if live is None else live.trials.get(trial.trial_id)
    metric = str(record.spec["search"]["metric"])
    is_of_search = trial.stage is Stage.SEARCH
    text = "waits for a group, or its steps are not known here"
    if progress is not None:
        reached = stage_text(progress.step, progress.num_steps, progress.in_steps)
        text = f"{reached}, {format_seconds(progress.seconds)} so far"
    is_stopping = trial.stop_asked_by is not None
    return Running(
        trial_id=trial.trial_id,
        settings=format_params(trial.params) or f"seed {trial.spec['seed']} of {trial.arm}",
        step=None if progress is None else progress.step,
        num_steps=1 if progress is None else max(1, progress.num_steps),
        text=text,
        score=f"{metric} {format_metric(metric, trial.metrics.get(metric))}"
        if trial.evaluations and is_of_search
        else "",
        is_steered=is_of_search and not is_stopping,
        is_pinned=trial.pinned_by is not None,
        is_stopping=is_stopping,
    )


def _why_no_controls(moment: Moment, reader: Reader) -> str:
    """Return why the page only shows; "" where it passes requests on."""
    if not reader.can_control:
        return "This page only shows: it is open to other machines, and `--controls` was not given."
    look = moment.look
    if look.holder is None:
        return "No driver works on the sweep, so there is nobody to ask for changes."
    if not look.takes_requests:
        return "The driver runs on another machine, which alone can ask it for changes."
    return ""


def _evaluations_table(record: SweepRecord, trial: TrialRecord) -> Table:
    metric = str(record.spec["search"]["metric"])
    names = sorted({name for each in trial.evaluations for name in each.metrics})
    # The search's metric first; seconds and memory are in the report.
    shown = [name for name in names if "/" in name and name != metric]
    columns = [*([metric] if metric in names else []), *shown]
    rows = tuple(
        row(str(each.step), *(_value(name, each.metrics.get(name)) for name in columns))
        for each in trial.evaluations
    )
    return Table("Evaluations", ("step", *columns), rows)


def _value(name: str, value: float | None) -> str:
    if is_score(name) or is_likelihood(name):
        return format_metric(name, value)
    return "" if value is None else f"{value:.3f}"


def _settings_table(trial: TrialRecord) -> Table:
    sections = ("adapter", "training")
    pairs = [
        (path, setting_text(value))
        for section in sections
        for path, value in leaves(section, trial.spec.get(section))
    ]
    return Table("Settings", ("setting", "value"), tuple(row(*pair) for pair in pairs))
