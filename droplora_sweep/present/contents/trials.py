"""Tables of a sweep's trials, and lines about them; made without anything heavy."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

from droplora_sweep.present.values import (
    DASH,
    format_metric,
    format_params,
    format_ratio,
    format_seconds,
    plural,
    score_word,
)
from droplora_sweep.records.layout import RESULTS
from droplora_sweep.spec.fidelity import fidelity_text
from droplora_sweep.spec.metric_names import (
    EMPTY_EXAMPLES,
    LONG_PROMPTS,
    MEAN,
    OVERLONG_EXAMPLES,
    PERPLEXITY_RATIO,
    SHORTENED_EXAMPLES,
    VLLM_SHARE,
    by_benchmark,
    likelihood_name,
    score_name,
    search_value,
)

from .table import Cell, Row, Table, row, score_cell

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from droplora_sweep.ledger.progress import LiveProgress, TrialProgress
    from droplora_sweep.records.trial import SweepRecord, TrialRecord
    from droplora_sweep.spec import ExploitStep, Scalar


def trials_tables(
    record: SweepRecord, *, is_live: bool, live: LiveProgress | None = None
) -> list[Table]:
    """Return tables of the search's trials, the confirmation's runs and a population's schedules.

    Args:
        record: The sweep.
        is_live: True while a driver works on it; else its running trials are interrupted.
        live: Progress of its running trials, where that is known.
    """
    running = live.trials if is_live and live is not None else {}
    name, search, confirm = record.name, record.search_trials, record.confirm_trials
    word = score_word(record.spec["task"])
    title = f"Trials of {name}: {word} on the validation split"
    if (fidelity := fidelity_text(record.spec)) is not None:
        title += f", trained on {fidelity}"
    tables = [_trials_table(title, search, record, "validation", running, is_live=is_live)]
    if confirm:
        split = record.confirmed_on
        title = f"Confirmation runs of {name}: {word} on the {split} split"
        tables.append(_trials_table(title, confirm, record, split, running, is_live=is_live))
    if record.spec["search"].get("population") is not None:
        tables.append(_schedules_table(record))
    return tables


def _trials_table(
    title: str,
    trials: Sequence[TrialRecord],
    record: SweepRecord,
    split: str,
    running: Mapping[str, TrialProgress],
    *,
    is_live: bool,
) -> Table:
    subjects = [str(name) for name in record.spec["task"]["benchmarks"]]
    if len(subjects) > 1:
        subjects.append(MEAN)
    likelihood = likelihood_name(MEAN, split)
    has_bits = any(likelihood in trial.metrics for trial in trials)
    has_text = any(PERPLEXITY_RATIO in trial.metrics for trial in trials)
    rows = []
    for trial in trials:
        progress = running.get(trial.trial_id)
        seconds = _seconds(trial, progress)
        ratio = trial.metrics.get(PERPLEXITY_RATIO)
        bits = trial.metrics.get(likelihood)
        rows.append(
            row(
                trial.trial_id,
                format_params(trial.params) or DASH,
                *(score_cell(trial.metrics.get(score_name(name, split))) for name in subjects),
                *([Cell(format_metric(likelihood, bits), value=bits)] if has_bits else []),
                *([Cell(format_ratio(ratio), value=ratio)] if has_text else []),
                Cell(format_seconds(seconds), value=seconds),
                Cell(_state(trial, progress, is_live=is_live), _why(trial)),
            )
        )
    text = (*(("bits per byte",) if has_bits else ()), *(("perplexity",) if has_text else ()))
    protocol = record.spec["evaluation"].get("protocol", "paper")
    columns = ("trial", "settings", *subjects, *text, "time", "state")
    return Table(f"{title} ({protocol} protocol)", columns, tuple(rows))


def _state(trial: TrialRecord, progress: TrialProgress | None, *, is_live: bool) -> str:
    if trial.is_to_be_retried:
        return "to be retried"
    if not trial.is_finished and not is_live:
        return "interrupted"
    reached = ""
    if progress is not None and not trial.is_finished:
        text = stage_text(progress.step, progress.num_steps, progress.in_steps)
        reached = f", {text}"
    marks = [
        *([f"of {trial.origin}"] if trial.origin else []),
        *([f"clone of {_short(trial.clone_of)}"] if trial.clone_of else []),
        *(["from its adapter"] if trial.start else []),
        *(["pinned"] if trial.pinned_by else []),
        *(["retried"] if trial.failures else []),
    ]
    marked = f" ({', '.join(marks)})" if marks else ""
    return f"{trial.state.lower()}{reached}{marked}"


def _why(trial: TrialRecord) -> str:
    """Return why it ended so, how it failed before, and what a population's member copied."""
    failures = [
        f"failed before: {failure.reason or 'no reason is known'} (retried by {failure.by})"
        for failure in trial.failures
    ]
    reasons = [*filter(None, [trial.reason]), *failures]
    return "; ".join([*reasons, *_schedule_texts(trial.schedule)])


def _seconds(trial: TrialRecord, progress: TrialProgress | None) -> float | None:
    if trial.finished is None:
        return None if progress is None else progress.seconds
    return (trial.finished - trial.started).total_seconds()


def _short(trial_id: str) -> str:
    return trial_id.partition("-")[0]


def stage_text(step: int, num_steps: int, in_steps: bool) -> str:
    """Return the work of a running trial: ``step 120/300``.

    >>> stage_text(150, 300, False), stage_text(0, 300, False)
    ('step 150/300, evaluates or saves', 'step 0/300, begins')
    """
    reached = f"step {step}/{num_steps}"
    if in_steps:
        return reached
    return f"{reached}, evaluates or saves" if step else f"{reached}, begins"


def exploit_text(evaluation: int, source: str, settings: Mapping[str, Scalar]) -> str:
    """Return one exploit step of a population in words.

    >>> exploit_text(2, "t0001-3f2a91bc", {"adapter.pruning_rate": 0.4})
    'copied t0001 after evaluation 2, then p=0.4'
    """
    return f"copied {_short(source)} after evaluation {evaluation}, then {format_params(settings)}"


def _schedule_texts(schedule: Sequence[ExploitStep]) -> list[str]:
    return [exploit_text(each.evaluation, str(each.source), each.settings) for each in schedule]


def _schedules_table(record: SweepRecord) -> Table:
    """Return every member of a population with its schedule, best first."""
    metric = record.spec["search"]["metric"]
    members = [
        trial for trial in record.search_trials if trial.clone_of is None and trial.origin is None
    ]
    rows: list[Row] = [
        row(
            _short(trial.trial_id),
            Cell(format_metric(metric, trial.metrics.get(metric)), value=trial.metrics.get(metric)),
            format_params(trial.params),
            "; ".join(_schedule_texts(trial.schedule)) or "kept its own",
        )
        for trial in sorted(members, key=partial(_rank, metric))
    ]
    title = f"Population of {record.name}: schedules by {metric}"
    return Table(title, ("trial", metric, "began with", "then"), tuple(rows))


def _rank(metric: str, trial: TrialRecord) -> float:
    """Place a trial by what the search maximises, best first; one without it last."""
    value = search_value(metric, trial.metrics)
    return math.inf if math.isnan(value) else -value


def trials_notes(record: SweepRecord) -> list[str]:
    """Return lines on examples that trials skipped, clones that wait, and vLLM that failed."""
    most: dict[str, float] = {}
    for trial in record.trials:
        for name, value in trial.metrics.items():
            most[name] = max(value, most.get(name, 0.0))
    skipped = (
        (OVERLONG_EXAMPLES, "are longer than `training.max_sequence_tokens` and left out"),
        (
            SHORTENED_EXAMPLES,
            "are conversations that end with their last answer within "
            "`training.max_sequence_tokens`",
        ),
        (EMPTY_EXAMPLES, "have an empty response and are left out"),
    )
    notes = [
        f"{most[name]:,.0f} training examples {why}" for name, why in skipped if most.get(name)
    ]
    notes += [
        f"{clone.trial_id} is queued: a clone of {clone.clone_of}, by {clone.by}"
        for clone in record.queued_clones
    ]
    by_others = [one.trial_id for one in record.trials if one.metrics.get(VLLM_SHARE, 1.0) < 1]
    if by_others:
        notes.append(
            f"vLLM did not decode all responses of {plural(len(by_others), 'trial')}, beginning "
            f"with {by_others[0]}: transformers did; `note` in {RESULTS} says why"
        )
    num_long = by_benchmark(most, LONG_PROMPTS)
    policy = record.spec["evaluation"].get("on_long_prompt", "truncate")
    return [*notes, *long_prompts_text(num_long, policy)]


def long_prompts_text(num_long: Mapping[str, float], on_long_prompt: str) -> list[str]:
    """Return a line per benchmark with prompts that the context cannot hold."""
    done = {"drop": "left out", "truncate": "truncated"}[on_long_prompt]
    return [
        f"{name}: {number:,.0f} prompts longer than the model's context are {done}"
        for name, number in num_long.items()
    ]
