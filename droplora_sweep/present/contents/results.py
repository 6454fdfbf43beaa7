"""Tables of a sweep's results: what to use, rates, test scores, methods, the Pareto front."""

from __future__ import annotations

from typing import TYPE_CHECKING

from droplora_sweep.analysis.grounds import UNTRAINED
from droplora_sweep.analysis.ranking import pareto_front
from droplora_sweep.analysis.text import arm_labels, dropped_label
from droplora_sweep.present.values import (
    DASH,
    format_count,
    format_params,
    format_score,
    format_seconds,
    plural,
)
from droplora_sweep.spec.search import COSTS, is_maximized

from .table import Cell, Table, gain_cell, probability_cell, row, score_cell

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from droplora_sweep.analysis.confirmed import ConfirmedDecision
    from droplora_sweep.analysis.grounds import ReferenceRow
    from droplora_sweep.analysis.methods import MethodRow, MethodTable
    from droplora_sweep.analysis.on_test import WinnerOnTest
    from droplora_sweep.records.trial import TrialRecord

    from .answers import Answer
    from .facts import Facts


def result_tables(facts: Facts) -> list[Table]:
    """Return the tables of a sweep's results in the order in which they are read."""
    confirmed = confirmed_tables(facts)
    tables = [
        *(confirmed or [rates_table(facts)]),
        on_test_table(facts.on_test, facts.references.get("test", ())),
        *([] if facts.methods is None else [methods_table(facts.methods)]),
        pareto_table(facts.searched, facts.objectives),
    ]
    return [table for table in tables if table.rows]


def answers_table(answers: Sequence[Answer]) -> Table:
    """Return the rate to use on each subject."""
    has_chances = any(one.probability_best is not None for one in answers)
    chances = ("best of all",) if has_chances else ()
    rows = []
    for one in answers:
        rate = DASH if one.pruning_rate is None else f"p = {one.pruning_rate:g}"
        of = "" if one.gain_of is None or one.gain is None else f"for p = {one.gain_of:g}"
        rows.append(
            row(
                one.subject,
                Cell(rate, _setting(one)),
                Cell(f"{one.certainty.mark} {one.certainty}", one.verdict),
                score_cell(one.score),
                gain_cell(one.least_gain, of),
                *(probability_cell(one.probability_best) for _ in chances),
            )
        )
    columns = ("benchmark", "use", "how sure", "score", "pruning against p = 0", *chances)
    return Table("What to use, and how sure that is", columns, tuple(rows))


def _setting(answer: Answer) -> str:
    """Return what goes with the rate, and the trial that has its adapter."""
    shown = f"{answer.settings} ({answer.short_trial})" if answer.settings else answer.trial
    if answer.adapter and answer.adapter != answer.trial:
        shown = f"{shown}; adapter of {answer.adapter.partition('-')[0]}"
    return shown


def rates_table(facts: Facts) -> Table:
    """Return the best complete trial of each pruning rate, per subject."""
    decisions = [facts.decision(subject) for subject in facts.subjects]
    first = next((one for one in decisions if one is not None), None)
    rows = []
    for index, counts in enumerate(first.rates if first else ()):
        cells = []
        for decision in decisions:
            best = None if decision is None else decision.rates[index].best
            is_best = decision is not None and best == decision.best and not decision.is_withheld
            if best is None:
                cells.append(score_cell(None))
            else:
                cells.append(score_cell(best.score, best.estimate, is_marked=is_best))
        states = (
            (counts.num_complete, "complete"),
            (counts.num_stopped, "stopped"),
            (counts.num_failed, "failed"),
        )
        count = ", ".join(f"{count} {name}" for count, name in states if count)
        rate = Cell(f"{counts.pruning_rate:g}", value=counts.pruning_rate)
        rows.append(row(rate, *cells, count or DASH))
    known = facts.references.get("validation", ()) if rows else ()
    for label in dict.fromkeys(each.label for each in known):
        own = {each.benchmark: each for each in known if each.label == label}
        cells = [_reference_cell(own.get(subject)) for subject in facts.subjects]
        rows.append(row(label, *cells, DASH, is_aside=True))
    columns = ("pruning rate", *facts.subjects, "trials")
    title = "Best score of each pruning rate (complete trials of the search)"
    return Table(title, columns, tuple(rows))


def confirmed_tables(facts: Facts) -> list[Table]:
    """Return the confirmed rates of each subject, each with what it has to beat."""
    references = facts.references.get(facts.decided_on, ())
    return [_confirmed_table(one, references) for one in facts.confirmed if one.rates]


def _confirmed_table(decision: ConfirmedDecision, references: Sequence[ReferenceRow]) -> Table:
    own = ("against its own p = 0",) if decision.controls else ()
    labels = arm_labels(decision)
    columns = ("setting", "score", "against p = 0", *own, "p-value", "best of all")
    rows = []
    for one in (*decision.rates, *decision.controls):
        differences = (one.difference, one.own_difference) if own else (one.difference,)
        p_value = one.adjusted_p_value
        rows.append(
            row(
                Cell(
                    labels[one.arm.name] + dropped_label(one),
                    one.arm.name,
                    one.arm == decision.recommended,
                ),
                score_cell(one.mean),
                *(gain_cell(None if each is None else each.estimate) for each in differences),
                Cell(DASH if p_value is None else f"{p_value:.2g}", value=p_value),
                probability_cell(one.probability_best),
            )
        )
    rest = [DASH] * (len(columns) - 2)
    rows += [
        row(each.label, _reference_cell(each), *rest, is_aside=True)
        for each in references
        if each.benchmark == decision.benchmark
    ]
    seeds = f"{decision.num_seeds} seeds, {decision.num_examples:,} examples"
    title = f"{decision.benchmark}: confirmed rates, {seeds}"
    return Table(title, columns, tuple(rows))


def on_test_table(tested: Sequence[WinnerOnTest], references: Sequence[ReferenceRow] = ()) -> Table:
    """Return the recommended rates on the test split, beside p = 0.

    Args:
        tested: One per subject.
        references: Scores on the test split that need no training.
    """
    untrained = {each.benchmark: each for each in references if each.label == UNTRAINED}
    own = (UNTRAINED,) if untrained else ()
    columns = ("benchmark", "used", "test score", "p = 0", "difference", *own, "runs and examples")
    rows = (
        row(
            one.benchmark,
            Cell(f"p = {one.arm.pruning_rate:g}", one.arm.name),
            score_cell(one.score),
            score_cell(one.baseline_score),
            gain_cell(one.difference),
            *(_reference_cell(untrained.get(one.benchmark)) for _ in own),
            f"{plural(one.num_seeds, 'seed')}, {one.num_examples:,} examples",
        )
        for one in tested
    )
    return Table("Test split, scored once, after the decision", columns, tuple(rows))


def _reference_cell(reference: ReferenceRow | None) -> Cell:
    if reference is None:
        return score_cell(None)
    return score_cell(reference.score, reference.estimate)


def methods_table(found: MethodTable) -> Table:
    """Return the best setting of each variant; the paper's row below, where it has one."""
    rows = []
    for index, variant in enumerate(found.rows):
        setting = format_params(variant.settings) or variant.best or DASH
        is_reference = index == found.reference
        rows.append(
            row(
                format_params(variant.variant),
                *(
                    score_cell(variant.intervals.get(name) or variant.scores.get(name))
                    for name in found.benchmarks
                ),
                Cell("reference") if is_reference else gain_cell(variant.difference),
                Cell(str(variant.num_trials), value=variant.num_trials),
                Cell(setting, variant.best if variant.best and setting != variant.best else ""),
            )
        )
        if (printed := _paper_numbers(variant, found.benchmarks)) is not None:
            rows.append(row(*printed, "", "", "", is_aside=True))
    columns = ("method", *found.benchmarks, "against the reference", "trials", "best setting")
    title = "Best setting of each method in the search (validation)"
    return Table(title, columns, tuple(rows), tuple(_methods_notes(found)))


def _methods_notes(found: MethodTable) -> Iterator[str]:
    yield (
        "Exploratory: each row is the best of its trials, on the examples that chose it, with one "
        "seed; intervals and paired differences cover the choice of examples alone."
    )
    if len({each.num_trials for each in found.rows}) > 1:
        yield (
            "Not every method has had as many trials; the best of more is higher by luck alone. "
            "`search.compare` gives each the same number."
        )
    if any(_paper_numbers(each, found.benchmarks) for each in found.rows):
        yield (
            "The paper's numbers are of the test split, one run each (arXiv 2508.17337); ours are "
            "of the validation split."
        )
    compared = [each.paper for each in found.rows if each.paper is not None]
    differences = dict.fromkeys(one for paper in compared for one in paper.differences)
    if differences:
        which = "" if all(paper.differences for paper in compared) else " of other rows"
        yield (
            f"The paper's numbers{which} are not shown, since they are of something else: "
            f"{'; '.join(differences)}."
        )
    for reason in dict.fromkeys(one for paper in compared for one in paper.other_sets):
        yield f"The paper has no number to compare with: {reason}."


def _paper_numbers(variant: MethodRow, benchmarks: Sequence[str]) -> list[Cell] | None:
    """Return the paper's table and its number under each benchmark; None where it has none."""
    result = None if variant.paper is None else variant.paper.result
    percents = [] if result is None else [result.percent(name) for name in benchmarks]
    if result is None or all(one is None for one in percents):
        return None
    source = f"paper, {result.source}" + " (cited)" * (not result.own_run)
    return [
        Cell(source),
        *(Cell("") if one is None else Cell(f"{one:.2f} %", value=one / 100) for one in percents),
    ]


def pareto_table(trials: Sequence[TrialRecord], objectives: Sequence[str]) -> Table:
    """Return the trials of the front, the best by the first objective on top."""
    front = pareto_front(trials, objectives) if objectives else ()
    columns = (
        "trial",
        *(f"{name} ({'high' if is_maximized(name) else 'low'})" for name in objectives),
    )
    rows = (
        row(point.trial_id, *(_objective_cell(name, point.values[name]) for name in objectives))
        for point in front
    )
    title = "Trials that no other beats in every objective (Pareto front)"
    return Table(title, columns, tuple(rows))


def _objective_cell(objective: str, value: float) -> Cell:
    if objective not in COSTS:
        text = format_score(value)
    elif objective == "seconds":
        text = format_seconds(value)
    elif objective == "trainable_parameters":
        text = format_count(int(value))
    else:
        text = f"{value:.2f} GB" if objective == "memory" else f"{value:.3f}"
    return Cell(text, value=value)
