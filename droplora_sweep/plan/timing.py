"""Seconds of a sweep's trials, from its ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING

from droplora_sweep.records.trial import TrialState

from .costs.hindsight import Timed

if TYPE_CHECKING:
    from droplora_sweep.records.trial import SweepRecord, TrialRecord


def timed_trials(record: SweepRecord) -> list[Timed]:
    """The trials that ran here in one go, each with what its reports say of its parts."""
    found = [_timed(trial) for trial in record.trials if _ran_in_one_go(trial)]
    return [trial for trial in found if trial is not None]


def _ran_in_one_go(trial: TrialRecord) -> bool:
    """One taken up again, or copied from another sweep, has the wrong wall time."""
    ended = trial.state in (TrialState.COMPLETE, TrialState.STOPPED)
    return ended and trial.attempts == 1 and trial.origin is None


def _timed(trial: TrialRecord) -> Timed | None:
    parts = [
        (report.metrics.get("train_seconds"), report.metrics.get("evaluation_seconds"))
        for report in trial.reports
    ]
    if trial.finished is None or not parts or any(None in part for part in parts):
        return None
    return Timed(
        started_s=trial.started.timestamp(),
        wall_s=(trial.finished - trial.started).total_seconds(),
        train_s=sum(train_s or 0.0 for train_s, _ in parts),
        evaluation_s=sum(evaluation_s or 0.0 for _, evaluation_s in parts),
        num_steps=trial.reports[-1].step,
        num_evaluations=len(parts),
    )
