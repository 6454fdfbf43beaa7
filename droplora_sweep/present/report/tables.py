"""Tables of a report, as texts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from droplora_sweep.analysis.grounds import UNTRAINED
from droplora_sweep.analysis.ranking import pareto_front
from droplora_sweep.analysis.text import arm_labels
from droplora_sweep.present.terminal.results import methods_notes, objective_text, paper_numbers
from droplora_sweep.present.values import format_params, format_seconds, schedule_texts
from droplora_sweep.spec.metric_names import score_name
from droplora_sweep.spec.search import is_maximized

from .wording import DASH, interval, points, score, share

if TYPE_CHECKING:
    from collections.abc import Sequence

    from droplora_sweep.analysis.confirmed import ConfirmedDecision
    from droplora_sweep.analysis.grounds import ReferenceRow
    from droplora_sweep.analysis.methods import MethodRow, MethodTable
    from droplora_sweep.analysis.on_test import WinnerOnTest
    from droplora_sweep.records.trial import TrialRecord

    from .answers import Answer
    from .facts import Facts


@dataclass(frozen=True)
class Cell:
    """One cell.

    Attributes:
        text: What it says.
        note: A second, smaller line.
        is_marked: Whether it is the best of its column.
    """

    text: str
    note: str = ""
    is_marked: bool = False


@dataclass(frozen=True)
class Table:
    """A table whose first column names its rows.

    Attributes:
        caption: What it shows.
        columns: Names of the columns.
        rows: Cells by row.
    """

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


def answers_table(answers: Sequence[Answer]) -> Table:
    """What to use, per subject."""
    has_chances = any(one.probability_best is not None for one in answers)
    chances = ("best of all",) if has_chances else ()
    columns = ("benchmark", "use", "how sure", "score", "pruning against p = 0", *chances)
    rows = []
    for one in answers:
        rate = DASH if one.pruning_rate is None else f"p = {one.pruning_rate:g}"
        of = "" if one.gain_of is None or one.gain is None else f"for p = {one.gain_of:g}"
        rows.append(
            (
                Cell(one.subject),
                Cell(rate, _setting(one)),
                Cell(f"{one.certainty.mark} {one.certainty}", one.verdict),
                Cell(score(one.score), interval(one.score)),
                Cell(points(one.gain), of),
                *(Cell(share(one.probability_best)) for _ in chances),
            )
        )
    return Table("What to use, and how sure that is", columns, tuple(rows))


def _setting(answer: Answer) -> str:
    """What goes with the rate, and the trial that has its adapter."""
    shown = f"{answer.settings} ({answer.short_trial})" if answer.settings else answer.trial
    if answer.adapter and answer.adapter != answer.trial:
        shown = f"{shown}; adapter of {answer.adapter.partition('-')[0]}"
    return shown


def rates_table(facts: Facts) -> Table:
    """The best complete trial of each pruning rate, per subject."""
    columns = ("pruning rate", *facts.subjects, "trials")
    decisions = [facts.decision(subject) for subject in facts.subjects]
    first = next((one for one in decisions if one is not None), None)
    rows = []
    for index, counts in enumerate(first.rates if first else ()):
        cells = [Cell(f"{counts.pruning_rate:g}")]
        for decision in decisions:
            best = decision.rates[index].best if decision is not None else None
            if decision is None or best is None:
                cells.append(Cell(DASH))
            else:
                shown = score(best.score)
                is_best = best == decision.best and not decision.is_withheld
                cells.append(Cell(shown, interval(best.estimate), is_best))
        states = [
            f"{count} {name}"
            for count, name in (
                (counts.num_complete, "complete"),
                (counts.num_stopped, "stopped"),
                (counts.num_failed, "failed"),
            )
            if count
        ]
        rows.append((*cells, Cell(", ".join(states) or DASH)))
    known = facts.references.get("validation", ())
    for label in dict.fromkeys(row.label for row in known) if rows else ():
        own = {row.benchmark: row for row in known if row.label == label}
        cells = [_reference_cell(own.get(subject)) for subject in facts.subjects]
        rows.append((Cell(label), *cells, Cell(DASH)))
    return Table("Best complete trial of each pruning rate in the search", columns, tuple(rows))


def confirmed_table(decision: ConfirmedDecision, references: Sequence[ReferenceRow] = ()) -> Table:
    """Every confirmed rate of one subject, then what it has to beat.

    Args:
        decision: The subject's.
        references: What needs no training, on the same examples.
    """
    own = ("against its own p = 0",) if decision.controls else ()
    labels = arm_labels(decision)
    columns = ("setting", "score", "against p = 0", *own, "p-value", "best of all")
    rows = tuple(
        (
            Cell(labels[one.arm.name], one.arm.name, one.arm == decision.recommended),
            Cell(score(one.mean), interval(one.mean)),
            *(
                Cell(DASH if difference is None else points(difference.estimate))
                for difference in (one.difference, *([one.own_difference] if own else []))
            ),
            Cell(DASH if one.adjusted_p_value is None else f"{one.adjusted_p_value:.2g}"),
            Cell(share(one.probability_best)),
        )
        for one in (*decision.rates, *decision.controls)
    )
    rest = [Cell(DASH)] * (len(columns) - 2)
    rows += tuple(
        (Cell(row.label), _reference_cell(row), *rest)
        for row in references
        if row.benchmark == decision.benchmark
    )
    seeds = f"{decision.num_seeds} seeds, {decision.num_examples:,} examples"
    return Table(f"{decision.benchmark}: {seeds}", columns, rows)


def on_test_table(tested: Sequence[WinnerOnTest], references: Sequence[ReferenceRow] = ()) -> Table:
    """The recommended rates on the test split, beside p = 0.

    Args:
        tested: One per subject.
        references: What needs no training, on the test split.
    """
    untrained = {row.benchmark: row for row in references if row.label == UNTRAINED}
    own = (UNTRAINED,) if untrained else ()
    columns = ("benchmark", "used", "test score", "p = 0", "difference", *own, "runs and examples")
    rows = tuple(
        (
            Cell(one.benchmark),
            Cell(f"p = {one.arm.pruning_rate:g}", one.arm.name),
            Cell(score(one.score)),
            Cell(score(one.baseline_score)),
            Cell(points(one.difference)),
            *(_reference_cell(untrained.get(one.benchmark)) for _ in own),
            Cell(f"{one.num_seeds} seeds, {one.num_examples:,} examples"),
        )
        for one in tested
    )
    return Table("Test split, scored once, after the decision", columns, rows)


def _reference_cell(row: ReferenceRow | None) -> Cell:
    return Cell(DASH) if row is None else Cell(score(row.score), interval(row.estimate))


def trials_table(facts: Facts) -> Table:
    """Every trial."""
    columns = ("trial", "settings", *facts.subjects, "time", "state")
    rows = tuple(
        (
            Cell(trial.trial_id),
            Cell(format_params(trial.params) or DASH),
            *(Cell(score(_score(trial, subject))) for subject in facts.subjects),
            Cell(_duration(trial)),
            Cell(_state(trial, is_live=facts.is_live), _why(trial)),
        )
        for trial in facts.record.trials
    )
    caption = "Every trial; scores of those that ended early are not final"
    if facts.record.confirm_trials:
        caption += "; those of confirmation runs (c...) are on examples of their own"
    return Table(caption, columns, rows)


def _score(trial: TrialRecord, subject: str) -> float | None:
    """On validation examples, or on those of the confirmation."""
    confirmed = trial.metrics.get(score_name(subject, "confirmation"))
    return trial.metrics.get(score_name(subject), confirmed)


def _duration(trial: TrialRecord) -> str:
    if trial.finished is None:
        return DASH
    return format_seconds((trial.finished - trial.started).total_seconds())


def _state(trial: TrialRecord, *, is_live: bool) -> str:
    if not trial.is_finished and not is_live:
        return "interrupted"
    origin = f" (of {trial.origin})" if trial.origin else ""
    return f"{trial.state.lower()}{origin}"


def _why(trial: TrialRecord) -> str:
    """Why it ended so, and what a member of a population copied on the way."""
    return "; ".join([*filter(None, [trial.reason]), *schedule_texts(trial.schedule)])


def methods_table(found: MethodTable) -> Table:
    """The best setting of each variant; the paper's row below, where it has one."""
    columns = ("method", *found.benchmarks, "against the reference", "trials", "best setting")
    rows = []
    for index, row in enumerate(found.rows):
        reference = "reference" if index == found.reference else points(row.difference)
        setting = format_params(row.settings) or row.best or DASH
        rows.append(
            (
                Cell(format_params(row.variant)),
                *(_method_score(row, name) for name in found.benchmarks),
                Cell(reference),
                Cell(str(row.num_trials)),
                Cell(setting, row.best if row.best and setting != row.best else ""),
            )
        )
        if (printed := paper_numbers(row, found.benchmarks)) is not None:
            rows.append((*map(Cell, printed), Cell(""), Cell(""), Cell("")))
    return Table("Best setting of each method in the search", columns, tuple(rows))


def methods_text(found: MethodTable) -> list[str]:
    """What the table's numbers are, and are not."""
    return list(methods_notes(found))


def _method_score(row: MethodRow, name: str) -> Cell:
    estimate = row.intervals.get(name)
    return Cell(score(estimate or row.scores.get(name)), interval(estimate))


def pareto_table(facts: Facts) -> Table | None:
    """One row per trial of the front, the best by the first objective on top; None without it."""
    objectives = facts.record.spec["search"].get("objectives")
    if not objectives:
        return None
    front = pareto_front(facts.searched, objectives)
    columns = (
        "trial",
        *(f"{name} ({'%, high' if is_maximized(name) else 'low'})" for name in objectives),
    )
    rows = tuple(
        (
            Cell(point.trial_id),
            *(Cell(objective_text(name, point.values[name])) for name in objectives),
        )
        for point in front
    )
    return Table("Trials that no other beats in every objective (Pareto front)", columns, rows)
