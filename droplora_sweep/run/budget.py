"""What a search has taken, from the ledger's times, and whether that is all it may; pure functions.

A driver's work counts from its start to its last event, so that the time between a crash and the
resume costs nothing; of the driver that works now it counts to this moment.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from droplora_sweep.records.trial import Session, SweepRecord, TrialRecord
    from droplora_sweep.spec import SearchSpec

HOUR = timedelta(hours=1)


def spent(record: SweepRecord, search: SearchSpec, now: datetime | None = None) -> str | None:
    """Which limit of ``search.budget`` is reached; None if none is.

    Args:
        record: The sweep.
        search: Has the budget, and the metric that a target is of.
        now: Where a driver works on it: the time, UTC.
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


def wall_time(record: SweepRecord, now: datetime | None = None) -> timedelta:
    """How long drivers have worked on the sweep."""
    spans = (_end(record, session, now) - session.start for session in record.sessions)
    return sum(spans, timedelta())


def gpu_time(record: SweepRecord, now: datetime | None = None) -> timedelta:
    """Time of all search-stage trials, each times the GPUs (on CPU: workers) of its group.

    Trials taken over from another sweep were copied, and cost next to nothing.
    """
    times = (_gpu_time(trial, record, now) for trial in record.search_trials)
    return sum(times, timedelta())


def _gpu_time(trial: TrialRecord, record: SweepRecord, now: datetime | None) -> timedelta:
    total = timedelta()
    for session in record.sessions:
        end = _end(record, session, now)
        starts = [time for time in trial.taken_up if session.start <= time <= end]
        if starts:
            # It is this driver's from then on, whatever happens to its groups.
            until = end if trial.finished is None else min(trial.finished, end)
            total += (until - min(starts)) * session.gpus_per_trial
    return total


def _end(record: SweepRecord, session: Session, now: datetime | None) -> datetime:
    is_live = now is not None and session is record.sessions[-1]
    return max(now, session.last) if now is not None and is_live else session.last
