"""Tables and texts about a sweep that is planned, running or done."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from droplora_sweep.plan.costs.work import ASSUMED_UTILISATION
from droplora_sweep.present.values import (
    format_bytes,
    format_count,
    format_params,
    format_ratio,
    format_score,
    format_seconds,
    format_span,
    long_prompts_text,
    schedules_table,
)
from droplora_sweep.spec.metric_names import (
    EMPTY_EXAMPLES,
    LONG_PROMPTS,
    MEAN,
    OVERLONG_EXAMPLES,
    PERPLEXITY_RATIO,
    by_benchmark,
    score_name,
)

from .costs import cost_rows
from .pace import stage_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from droplora_sweep.analysis.grounds import ReferenceRow
    from droplora_sweep.analysis.search_decision import Decision
    from droplora_sweep.ledger.progress import LiveProgress, TrialProgress
    from droplora_sweep.plan.plan import LearningRates, Plan, Saved
    from droplora_sweep.plan.survey import Survey
    from droplora_sweep.records.trial import SweepRecord, TrialRecord


def trials_tables(
    record: SweepRecord, *, is_live: bool, live: LiveProgress | None = None
) -> list[Table]:
    """Every trial of the search, and every run of the confirmation where there are any.

    Of a population, a table of schedules too.

    Args:
        record: The sweep.
        is_live: Whether a driver works on it; else its running trials are interrupted.
        live: How far its running trials are, where that is known.
    """
    what = f"Trials of {record.name}: validation accuracy"
    running = live.trials if is_live and live is not None else {}
    tables = [
        _trials_table(what, record.search_trials, record, "validation", running, is_live=is_live)
    ]
    if record.confirm_trials:
        is_new = (record.spec.get("confirm") or {}).get("examples", "new") == "new"
        what = f"Confirmation runs of {record.name}: accuracy on "
        what += "the confirmation split" if is_new else "the validation split"
        split = "confirmation" if is_new else "validation"
        trials = record.confirm_trials
        tables.append(_trials_table(what, trials, record, split, running, is_live=is_live))
    if (schedules := schedules_table(record)) is not None:
        tables.append(schedules)
    return tables


def _trials_table(
    what: str,
    trials: Sequence[TrialRecord],
    record: SweepRecord,
    split: str,
    running: Mapping[str, TrialProgress],
    *,
    is_live: bool,
) -> Table:
    """Searched values, scores in percent, time, state."""
    benchmarks = [str(name) for name in record.spec["task"]["benchmarks"]]
    protocol = record.spec["evaluation"].get("protocol", "paper")
    table = Table(title=f"{what} in % ({protocol} protocol)")
    has_text = any(PERPLEXITY_RATIO in trial.metrics for trial in trials)
    table.add_column("trial", no_wrap=True)
    table.add_column("parameters")
    for name in (*benchmarks, MEAN):
        table.add_column(name, justify="right")
    if has_text:
        table.add_column("perplexity", justify="right")
    table.add_column("time", justify="right", no_wrap=True)
    table.add_column("state")
    for trial in trials:
        scores = [trial.metrics.get(score_name(name, split)) for name in (*benchmarks, MEAN)]
        table.add_row(
            trial.trial_id,
            format_params(trial.params),
            *map(format_score, scores),
            *([format_ratio(trial.metrics.get(PERPLEXITY_RATIO))] if has_text else []),
            format_seconds(_seconds(trial, running.get(trial.trial_id))),
            _state(trial, running.get(trial.trial_id), is_live=is_live),
        )
    return table


def trials_notes(record: SweepRecord) -> list[str]:
    """What trials did not train on or read in part, one line each; the most of any trial."""
    most: dict[str, float] = {}
    for trial in record.trials:
        for name, value in trial.metrics.items():
            most[name] = max(value, most.get(name, 0.0))
    notes = []
    if most.get(OVERLONG_EXAMPLES):
        notes.append(
            f"{most[OVERLONG_EXAMPLES]:,.0f} training examples are longer than "
            "`training.max_sequence_tokens` and left out"
        )
    if most.get(EMPTY_EXAMPLES):
        number = f"{most[EMPTY_EXAMPLES]:,.0f}"
        notes.append(f"{number} training examples have an empty response and are left out")
    num_long = by_benchmark(most, LONG_PROMPTS)
    notes += [
        f"{clone.trial_id} is queued: a clone of {clone.clone_of}, by {clone.by}"
        for clone in record.queued_clones
    ]
    policy = record.spec["evaluation"].get("on_long_prompt", "truncate")
    return [*notes, *long_prompts_text(num_long, policy)]


def rates_table(decisions: Sequence[Decision], references: Sequence[ReferenceRow] = ()) -> Table:
    """The best complete trial of each pruning rate, per benchmark, in percent.

    Args:
        decisions: One per benchmark.
        references: What has to be beaten, on the same examples: the last rows.
    """
    table = Table(title="Best score of each pruning rate, in % (complete trials)")
    table.add_column("pruning rate", justify="right")
    for decision in decisions:
        table.add_column(decision.benchmark, justify="right")
    table.add_column("trials", justify="right")
    rates = {row.pruning_rate: row for row in decisions[0].rates}
    for rate, row in rates.items():
        cells = []
        for decision in decisions:
            best = next(other.best for other in decision.rates if other.pruning_rate == rate)
            is_winner = not decision.is_withheld and best is not None and best == decision.best
            score = format_score(None if best is None else best.score)
            cells.append(f"[bold]{score} *[/bold]" if is_winner else score)
        count = f"{row.num_complete} + {row.num_stopped} stopped"
        table.add_row(
            f"{rate:g}", *cells, count + (f", {row.num_failed} failed" * bool(row.num_failed))
        )
    if references:
        table.add_section()
    for label in dict.fromkeys(row.label for row in references):
        scores = {row.benchmark: row.score for row in references if row.label == label}
        shown = (format_score(scores.get(decision.benchmark)) for decision in decisions)
        table.add_row(label, *shown, style="dim")
    return table


def plan_table(found: Survey, plan: Plan, utilisation: float = ASSUMED_UTILISATION) -> Table:
    """What a sweep takes, at this assumed share of a GPU's peak."""
    sweep, model = found.sweep, found.model
    table = Table(title=f"Plan of {sweep.name}", show_header=False)
    table.add_column("what")
    table.add_column("value")
    settings = (
        "a continuous space" if plan.num_settings is None else f"{plan.num_settings} settings"
    )
    until = "until the budget is spent" if plan.num_trials is None else plan.num_trials
    table.add_row("trials", f"{until}, of {settings}")
    if plan.num_confirmed is not None:
        number = format_span(plan.num_confirmed, str)
        runs = f"{number} further runs of full length, as the search's results ask for"
        table.add_row("confirmation", f"{runs}; then winners are scored on the test split")
    for index, values in enumerate(plan.queued):
        table.add_row("queued first" if index == 0 else "", format_params(values))
    workers = f"{sweep.group.num_workers} workers each"
    side_by_side = "" if plan.num_groups is None else f"{plan.num_groups} side by side, "
    table.add_row("groups", side_by_side + workers)
    for name, sizes in plan.splits.items():
        table.add_row(name, _sizes(sizes))
    table.add_row("steps per trial", "at most " + format_span(plan.num_steps, str))
    table.add_row("learning rate", _rates_text(plan.learning_rates))
    table.add_row("evaluations per trial", str(sweep.evaluation.num_evaluations))
    if model is not None and plan.saved is not None:
        numbers = f"{model.architecture}, {format_count(model.num_parameters)} parameters"
        table.add_row("base model", f"{numbers}, {format_bytes(model.weight_bytes)}")
        _add_saved(table, plan.saved, "each trial" if plan.num_trials is None else "all")
    for title, text in cost_rows(sweep, plan, utilisation):
        table.add_row(title, text)
    for title, lines in (("note", plan.notes), ("not checked", plan.unchecked)):
        for index, line in enumerate(lines):
            table.add_row("" if index else title, line)
    return table


def _rates_text(rates: LearningRates) -> str:
    peak, last = (format_span(span, "{:.3g}".format) for span in (rates.peak, rates.last))
    warmup = format_span(rates.num_warmup_steps, str)
    steps = "step" if warmup == "1" else "steps"
    after = "at the first step" if warmup == "0" else f"after {warmup} {steps} of warmup"
    return f"peak {peak} {after}, last {last}"


def _sizes(sizes: Mapping[str, int]) -> str:
    """``96 train, 20 validation, 50 test``, and how many are in none of them, and why."""
    num_left_out = sizes.get("left_out", 0)
    parts = [f"{count:,} {split}" for split, count in sizes.items() if split != "left_out"]
    if num_left_out:
        examples = f"{num_left_out:,} example{'s' * (num_left_out != 1)}"
        parts.append(f"{examples} left out, whose question another split asks too")
    return ", ".join(parts)


def _add_saved(table: Table, saved: Saved, whom: str) -> None:
    trainable = format_span(saved.num_trainable_parameters, format_count)
    table.add_row("trainable parameters", trainable)
    disk = f"at most {format_bytes(saved.disk_bytes)} for {whom}"
    if saved.adapter_bytes is not None:
        disk = f"{format_bytes(saved.adapter_bytes)} for the largest adapter, {disk}"
    if saved.full_model_bytes is not None:
        size = format_bytes(saved.full_model_bytes)
        table.add_row("full models", f"each trial with method full saves the whole model, {size}")
    table.add_row("disk", disk)


def _state(trial: TrialRecord, progress: TrialProgress | None, *, is_live: bool) -> str:
    if not trial.is_finished and not is_live:
        return "interrupted"
    marks = [
        *([f"of {trial.origin}"] if trial.origin else []),
        *([f"clone of {trial.clone_of.partition('-')[0]}"] if trial.clone_of else []),
        *(["from its adapter"] if trial.start else []),
        *([_copied(trial)] if trial.schedule else []),
        *(["pinned"] if trial.pinned_by else []),
    ]
    marked = f" ({', '.join(marks)})" if marks else ""
    reached = ""
    if progress is not None and not trial.is_finished:
        text = stage_text(progress.step, progress.num_steps, in_steps=progress.in_steps)
        reached = f", {text}"
    reason = f": {trial.reason}" if trial.reason else ""
    return f"{trial.state.lower()}{reached}{marked}{reason}"


def _copied(trial: TrialRecord) -> str:
    names = [str(turn.source).partition("-")[0] for turn in trial.schedule]
    return f"copied {', '.join(names)}"


def _seconds(trial: TrialRecord, progress: TrialProgress | None) -> float | None:
    if trial.finished is None:
        return None if progress is None else progress.seconds
    return (trial.finished - trial.started).total_seconds()
