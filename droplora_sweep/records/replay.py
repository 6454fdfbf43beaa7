"""Replay of events: the records that a sweep's history amounts to."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from droplora_sweep.spec import AdapterStart, ExploitStep

from .events import EventKind
from .layout import ADAPTER, RESULTS, TEST_RESULTS, reference_results, trial_directory
from .trial import (
    FailedAttempt,
    PastTrial,
    QueuedClone,
    RecordedEvaluation,
    Reference,
    Session,
    Stage,
    StartingPoint,
    SweepOutcome,
    SweepRecord,
    TrialRecord,
    TrialState,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from .events import Event


def replay(events: Iterable[Event], directory: Path) -> SweepRecord:
    """Return the sweep that the events tell of.

    Args:
        events: A log from its start.
        directory: The sweep's folder, which the records' paths are under.
    """
    return SweepReplay(directory, events).record


class SweepReplay:
    """Running result of ``replay``, for a writer that adds one event at a time.

    An event that cannot follow the ones before it (a finished trial that starts again) is a bug
    of the writer and fails an assertion.
    """

    def __init__(self, directory: Path, events: Iterable[Event] = ()) -> None:
        self._directory = directory
        self._sweep: SweepRecord | None = None
        self._trials: dict[str, TrialRecord] = {}
        self._sessions: list[Session] = []
        for event in events:
            self.add(event)

    @property
    def record(self) -> SweepRecord:
        assert self._sweep is not None, "the log is empty"
        trials, sessions = tuple(self._trials.values()), tuple(self._sessions)
        return replace(self._sweep, trials=trials, sessions=sessions)

    def copy(self) -> SweepReplay:
        """Return the same as of now, which later events do not change."""
        same = SweepReplay(self._directory)
        same._sweep = self._sweep
        same._trials, same._sessions = dict(self._trials), list(self._sessions)
        return same

    def trial(self, trial_id: str) -> TrialRecord:
        """Return the trial as of the last event."""
        return self._trials[trial_id]

    def check(self, event: Event) -> None:
        """Fail unless the event can follow; changes nothing."""
        self._after(event)

    def add(self, event: Event) -> None:
        after = self._after(event)
        if event.kind in (EventKind.SWEEP_STARTED, EventKind.SWEEP_RESUMED):
            self._sessions.append(_session(event))
        else:
            self._sessions[-1] = replace(self._sessions[-1], last=event.time)
        if isinstance(after, SweepRecord):
            self._sweep = after
        else:
            self._trials[after.trial_id] = after

    def _after(self, event: Event) -> SweepRecord | TrialRecord:
        """Return the record that the event changes, as changed; a sweep without its trials."""
        payload = event.payload
        if event.kind is EventKind.SWEEP_STARTED:
            assert self._sweep is None, "a sweep starts once"
            return SweepRecord(
                sweep_id=payload["sweep_id"],
                name=payload["name"],
                spec=payload["spec"],
                data_digests=payload["data_digests"],
                versions=payload["versions"],
                started=event.time,
                past=tuple(map(_past, payload.get("past", ()))),
                points=tuple(StartingPoint(**each) for each in payload.get("points", ())),
            )
        assert self._sweep is not None, f"{event.kind} before {EventKind.SWEEP_STARTED}"
        if event.kind is EventKind.SWEEP_RESUMED:
            return replace(
                self._sweep,
                spec=payload["spec"],
                versions=payload["versions"],
                finished=None,
                outcome=None,
                reason=None,
                num_starts=self._sweep.num_starts + 1,
            )
        if event.kind is EventKind.SWEEP_FINISHED:
            return replace(
                self._sweep,
                finished=event.time,
                outcome=SweepOutcome(payload["outcome"]),
                reason=payload["reason"],
            )
        if event.kind is EventKind.TRIAL_CLONED:
            # Its id goes by another name than that of events about trials that there are.
            clone = QueuedClone(**_planned(payload), trial_id=payload["clone_id"], by=payload["by"])
            return replace(self._sweep, clones=(*self._sweep.clones, clone))
        if event.kind is EventKind.REFERENCE_SCORED:
            return self._referenced(self._sweep, event)
        return self._next_trial(event)

    def _referenced(self, sweep: SweepRecord, event: Event) -> SweepRecord:
        payload = event.payload
        split = payload["split"]
        assert split not in sweep.references, f"the untrained model is scored once on {split}"
        reference = Reference(
            split=split,
            time=event.time,
            untrained={name: float(score) for name, score in payload["untrained"].items()},
            most_frequent={
                name: (str(answer), float(share))
                for name, (answer, share) in payload["most_frequent"].items()
            },
            chance={name: float(score) for name, score in payload["chance"].items()},
            results=reference_results(self._directory, split),
        )
        return replace(sweep, references={**sweep.references, split: reference})

    def _next_trial(self, event: Event) -> TrialRecord:
        payload = event.payload
        trial = self._trials.get(payload["trial_id"])
        if event.kind is EventKind.TRIAL_STARTED:
            return _started(trial, event)
        assert trial is not None, f"{event.kind} of the unknown trial {payload['trial_id']}"
        if event.kind is EventKind.TRIAL_TESTED:
            return self._tested(trial, event)
        if event.kind is EventKind.TRIAL_RETRIED:
            return _retried(trial, event)
        assert not trial.is_finished, f"{event.kind} of the finished trial {trial.trial_id}"
        if event.kind is EventKind.TRIAL_REPORTED:
            return _reported(trial, event)
        if event.kind is EventKind.TRIAL_STOP_ASKED:
            return replace(trial, stop_asked_by=payload["by"])
        if event.kind is EventKind.TRIAL_PINNED:
            return replace(trial, pinned_by=payload["by"])
        if event.kind is EventKind.TRIAL_ADJUSTED:
            return replace(trial, adjusted={**trial.adjusted, **payload["settings"]})
        if event.kind is EventKind.TRIAL_EXPLOITED:
            return _exploited(trial, event)
        return self._finished(trial, event)

    def _finished(self, trial: TrialRecord, event: Event) -> TrialRecord:
        payload = event.payload
        state = TrialState(payload["state"])
        assert state is not TrialState.RUNNING, f"{trial.trial_id} cannot end as RUNNING"
        folder = trial_directory(self._directory, trial.trial_id)
        return replace(
            trial,
            state=state,
            reason=payload["reason"],
            metrics={**trial.metrics, **_metrics(payload)},
            finished=event.time,
            adapter=folder / ADAPTER if payload["adapter"] else None,
            adapter_digest=payload["adapter"],
            results=folder / RESULTS if payload["results"] else None,
        )

    def _tested(self, trial: TrialRecord, event: Event) -> TrialRecord:
        assert trial.state is TrialState.COMPLETE, f"{trial.trial_id} is {trial.state}, not tested"
        assert not trial.is_tested, f"{trial.trial_id} is tested once"
        folder = trial_directory(self._directory, trial.trial_id)
        scores = {name: float(score) for name, score in event.payload["scores"].items()}
        return replace(trial, test_scores=scores, test_results=folder / TEST_RESULTS)


def _started(trial: TrialRecord | None, event: Event) -> TrialRecord:
    payload = event.payload
    if trial is None:
        return TrialRecord(
            **_planned(payload),
            trial_id=payload["trial_id"],
            stage=Stage(payload.get("stage", Stage.SEARCH)),
            arm=payload.get("arm"),
            raced=payload.get("raced", False),
            state=TrialState.RUNNING,
            started=event.time,
            starts=(event.time,),
            origin=payload.get("origin"),
        )
    assert not trial.is_finished, f"the finished trial {trial.trial_id} starts again"
    assert trial.fingerprint == payload["fingerprint"], f"{trial.trial_id} is another trial"
    return replace(
        trial,
        attempts=trial.attempts + 1,
        starts=(*trial.starts, event.time),
        started=event.time if trial.is_to_be_retried else trial.started,
    )


def _retried(trial: TrialRecord, event: Event) -> TrialRecord:
    """Return a failed trial as one to be run from its first step; what it had is history."""
    assert trial.state is TrialState.FAILED, f"{trial.trial_id} is {trial.state}, not retried"
    assert trial.finished is not None, "a failed trial has ended"
    failure = FailedAttempt(
        started=trial.started,
        finished=trial.finished,
        reason=trial.reason,
        step=trial.evaluations[-1].step if trial.evaluations else 0,
        attempts=trial.attempts,
        by=event.payload["by"],
    )
    return replace(
        trial,
        state=TrialState.RUNNING,
        started=event.time,
        finished=None,
        reason=None,
        evaluations=(),
        metrics={},
        adjusted={},
        adapter=None,
        adapter_digest=None,
        results=None,
        stop_asked_by=None,
        failures=(*trial.failures, failure),
    )


def _session(event: Event) -> Session:
    group = event.payload["spec"]["group"]
    gpus_per_trial = group["num_workers"] * (group["gpus_per_worker"] or 1)
    return Session(event.time, event.time, gpus_per_trial)


def _planned(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Fields that a trial's start and a clone's queueing have in common."""
    start = payload.get("start")
    return {
        **{name: payload[name] for name in ("number", "fingerprint", "spec", "params")},
        "drawn": payload.get("drawn", payload["params"]),
        "clone_of": payload.get("clone_of"),
        "start": None if start is None else AdapterStart(**start),
    }


def _past(fields: Mapping[str, Any]) -> PastTrial:
    scores = {int(evaluation): score for evaluation, score in fields["scores"].items()}
    return PastTrial(**{**fields, "state": TrialState(fields["state"]), "scores": scores})


def _reported(trial: TrialRecord, event: Event) -> TrialRecord:
    payload = event.payload
    evaluation = RecordedEvaluation(
        number=payload["evaluation"],
        num_evaluations=payload["num_evaluations"],
        step=payload["step"],
        metrics=_metrics(payload),
        outcomes=payload.get("outcomes", {}),
        time=event.time,
    )
    # A trial that is resumed from a checkpoint repeats the evaluations after it.
    before = tuple(old for old in trial.evaluations if old.number < evaluation.number)
    return replace(trial, evaluations=(*before, evaluation), metrics=evaluation.metrics)


def _exploited(trial: TrialRecord, event: Event) -> TrialRecord:
    fields = {name: value for name, value in event.payload.items() if name != "trial_id"}
    exploit_step = ExploitStep(**fields)
    last = max((each.evaluation for each in trial.exploit_steps), default=0)
    assert exploit_step.evaluation > last, (
        f"{trial.trial_id} has made an exploit step at evaluation {exploit_step.evaluation}"
    )
    return replace(trial, exploit_steps=(*trial.exploit_steps, exploit_step))


def _metrics(payload: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in payload["metrics"].items()}
