"""Time that a sweep has taken, against the limits on it.

A driver's work counts from its start to its last event, so that the time between a crash and the
resume costs nothing; the work of the driver that runs now counts up to now.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from droplora_sweep.records.trial import Stage

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from droplora_sweep.records.trial import Session, SweepRecord, TrialRecord
    from droplora_sweep.spec import SearchSpec


HOUR = timedelta(hours=1)


def spent(record: SweepRecord, search: SearchSpec, now: datetime | None = None) -> str | None:
    """Return a line that names the limit of ``search.budget`` that is reached; None if none is.

    Args:
        record: The sweep.
        search: Has the budget, and the metric that a target is of.
        now: The time, UTC, while a driver works on it; else None.
    """
    budget = search.budget
    for name, limit, taken in (
        ("gpu_hours", budget.gpu_hours, gpu_time(record, now)),
        ("wall_clock_hours", budget.wall_clock_hours, wall_time(record, now)),
    ):
        if limit is not None and taken >= limit * HOUR:
            return f"search.budget.{name}: {taken / HOUR:.3g} of {limit:.3g} hours are spent"
    if budget.target_score is not None:
        for trial in record.search_trials:
            score = trial.metrics.get(search.metric)
            if trial.state == "COMPLETE" and score is not None and score >= budget.target_score:
                target = f"search.budget.target_score: {trial.trial_id} has {score:.3g}"
                return f"{target} of {budget.target_score:.3g}"
    return None


def has_hours_left(record: SweepRecord, limit: float, now: datetime | None = None) -> bool:
    """Return True where the confirmation's runs have taken less than ``confirm.gpu_hours``.

    Args:
        record: The sweep.
        limit: GPU hours.
        now: The time, UTC, while a driver works on it; else None.
    """
    return gpu_time(record, now, Stage.CONFIRM) < limit * HOUR


def has_hours_for(record: SweepRecord, limit: float, num_runs: int) -> bool:
    """Return False where so many runs more, as long as the runs so far, would exceed the limit.

    A look that is not complete decides nothing, so that one without room had better not begin.
    """
    times = [
        _time_of(trial, record)
        for trial in record.confirm_trials
        if trial.is_finished and trial.origin is None
    ]
    if not times:
        return True
    total = sum(times, timedelta())
    return total + num_runs * total / len(times) <= limit * HOUR


def hours_text(record: SweepRecord, limit: float) -> str:
    """Return the reason why a confirmation stops at its limit of GPU hours."""
    taken = gpu_time(record, None, Stage.CONFIRM) / HOUR
    rest = "" if taken >= limit else ", and what is left is too little for another look"
    return f"confirm.gpu_hours: {taken:.3g} of {limit:.3g} hours are spent{rest}"


def wall_time(record: SweepRecord, now: datetime | None = None) -> timedelta:
    """Return the time for which drivers have worked on the sweep."""
    spans = (_end(record, session, now) - session.start for session in record.sessions)
    return sum(spans, timedelta())


def gpu_time(
    record: SweepRecord, now: datetime | None = None, stage: Stage = Stage.SEARCH
) -> timedelta:
    """Return the time of a stage's trials, each times the GPUs (on CPU: workers) of its group.

    Trials taken over from another sweep were copied, and cost next to nothing.
    """
    times = (_time_of(trial, record, now) for trial in record.trials if trial.stage is stage)
    return sum(times, timedelta())


def _time_of(trial: TrialRecord, record: SweepRecord, now: datetime | None = None) -> timedelta:
    times = (_gpu_time(record, now, trial.starts, began, ended) for began, ended in trial.spans)
    return sum(times, timedelta())


def _gpu_time(
    record: SweepRecord,
    now: datetime | None,
    starts: Sequence[datetime],
    began: datetime,
    ended: datetime | None,
) -> timedelta:
    """Return the time of one attempt at a trial, see `TrialRecord.spans`."""
    total = timedelta()
    for session in record.sessions:
        end = _end(record, session, now)
        first = max(began, session.start)
        until = end if ended is None else min(ended, end)
        own = [time for time in starts if first <= time <= until]
        if own:
            # It is this driver's from then on, whatever happens to its groups.
            total += (until - min(own)) * session.gpus_per_trial
    return total


def _end(record: SweepRecord, session: Session, now: datetime | None) -> datetime:
    is_live = now is not None and session is record.sessions[-1]
    return max(now, session.last) if now is not None and is_live else session.last
