"""Seconds of a sweep's trials, from its ledger: what ran here in one go, part by part."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from droplora_sweep.present.terminal.pace import timed_trials
from droplora_sweep.records.trial import RecordedEvaluation, SweepRecord, TrialRecord, TrialState

if TYPE_CHECKING:
    from droplora_sweep.plan.costs.pace import Timed

START = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def evaluated(number: int, step: int) -> RecordedEvaluation:
    metrics = {"train_seconds": 3.0, "evaluation_seconds": 2.0}
    return RecordedEvaluation(
        number=number, num_evaluations=2, step=step, metrics=metrics, time=START
    )


def trial(number: int, **changes: Any) -> TrialRecord:
    fields = {
        "trial_id": f"t{number:04d}-0123abcd",
        "number": number,
        "fingerprint": "0123abcd",
        "spec": {},
        "params": {},
        "drawn": {},
        "state": TrialState.COMPLETE,
        "started": START + timedelta(seconds=20 * number),
        "finished": START + timedelta(seconds=20 * number + 12),
        "evaluations": (evaluated(1, 8), evaluated(2, 16)),
    }
    return TrialRecord(**{**fields, **changes})


def timed(*trials: TrialRecord) -> list[Timed]:
    return timed_trials(
        SweepRecord(
            sweep_id="id",
            name="s",
            spec={},
            data_digests={},
            versions={},
            started=START,
            trials=trials,
        )
    )


def test_steps_and_evaluations_are_added_up() -> None:
    [found] = timed(trial(1))

    assert (found.wall_s, found.train_s, found.evaluation_s) == (12.0, 6.0, 4.0)
    assert (found.num_steps, found.num_evaluations) == (16, 2)


def test_what_did_not_run_here_in_one_go_has_no_times() -> None:
    others = [
        trial(1, attempts=2),
        trial(2, origin="first/t0001-0123abcd"),
        trial(3, state=TrialState.FAILED),
        trial(4, state=TrialState.RUNNING, finished=None),
        trial(5, evaluations=()),
    ]

    assert timed(*others) == []


def test_trials_of_another_model_have_another_pace() -> None:
    small, large = {"model": {"path": "small"}}, {"model": {"path": "large"}}
    found = timed(trial(1, spec=small), trial(2, spec=small), trial(3, spec=large))
    assert len(found) == 2
