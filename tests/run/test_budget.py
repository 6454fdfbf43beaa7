"""The budget spent by a search: hours over drivers and groups, a score that is enough."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import optuna
import pytest
from ray.tune.search import Searcher

from droplora_sweep.records.events import Event, EventKind
from droplora_sweep.records.replay import replay
from droplora_sweep.run.spending import gpu_time, spent, wall_time
from droplora_sweep.run.starting import Finished, Resume, decide_start
from droplora_sweep.search.searcher import StudySearcher
from droplora_sweep.spec import SweepSpec
from tests.recording import result

A, B = "t0000-aaaaaaaa", "t0001-bbbbbbbb"
START = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


DIGESTS = {"builtin_choice/test": "ab" * 32}


def make_sweep(**search: Any) -> SweepSpec:
    group = {"num_workers": 2, "gpus_per_worker": 1}
    return SweepSpec.model_validate({"name": "s", "search": search, "group": group})


class Log:
    """Events of a sweep at hours of one's choice."""

    def __init__(self, sweep: SweepSpec) -> None:
        self.sweep = sweep
        self.events: list[Event] = []

    def add(self, hours: float, kind: EventKind, **payload: Any) -> Log:
        self.events.append(
            Event(seq=len(self.events), time=START + hours * HOUR, kind=kind, payload=payload)
        )
        return self

    def begin(self, hours: float) -> Log:
        spec = self.sweep.model_dump(mode="json")
        common = {"spec": spec, "versions": {}}
        if self.events:
            return self.add(hours, EventKind.SWEEP_RESUMED, **common)
        names = {"sweep_id": "x", "name": "s", "data_digests": DIGESTS}
        return self.add(hours, EventKind.SWEEP_STARTED, **common, **names)

    def start(self, hours: float, name: str) -> Log:
        spec = self.sweep.trial.model_dump(mode="json")
        known = {"number": 0, "fingerprint": name, "spec": spec, "params": {}}
        return self.add(hours, EventKind.TRIAL_STARTED, trial_id=name, **known)

    def report(self, hours: float, name: str, score: float) -> Log:
        counts = {"evaluation": 1, "num_evaluations": 1, "step": 1}
        metrics = {"val/mean": score}
        return self.add(hours, EventKind.TRIAL_REPORTED, trial_id=name, metrics=metrics, **counts)

    def finish(self, hours: float, name: str, state: str = "COMPLETE") -> Log:
        rest = {"reason": None, "metrics": {}, "adapter": None, "results": None}
        return self.add(hours, EventKind.TRIAL_FINISHED, trial_id=name, state=state, **rest)

    def end(self, hours: float) -> Log:
        return self.add(hours, EventKind.SWEEP_FINISHED, outcome="COMPLETE", reason=None)

    @property
    def record(self) -> Any:
        return replay(self.events, Path("s"))


def test_time_counts_while_drivers_work_and_not_between_them() -> None:
    log = Log(make_sweep()).begin(0).start(1, A).report(3, A, 0.5)
    assert wall_time(log.record) == 3 * HOUR, "a driver that died counts to its last event"
    assert gpu_time(log.record) == 2 * 2 * HOUR, "two hours of two GPUs"
    log.begin(10).start(10.5, A).finish(11, A).end(12)
    assert wall_time(log.record) == (3 + 2) * HOUR
    assert gpu_time(log.record) == 2 * (2 + 0.5) * HOUR


def test_time_of_the_driver_that_works_now_runs() -> None:
    log = Log(make_sweep()).begin(0).start(1, A).start(1, B).finish(2, B, "FAILED")
    now = START + 4 * HOUR
    assert wall_time(log.record, now) == 4 * HOUR
    assert gpu_time(log.record, now) == 2 * (3 + 1) * HOUR


def test_a_group_that_is_lost_costs_once() -> None:
    log = Log(make_sweep()).begin(0).start(1, A).start(2, A).finish(4, A)
    assert gpu_time(log.record) == 2 * 3 * HOUR


def test_a_retry_costs_what_it_takes_and_not_the_time_before_it() -> None:
    log = Log(make_sweep()).begin(0).start(1, A).finish(2, A, "FAILED")
    log.add(5, EventKind.TRIAL_RETRIED, trial_id=A, by="ann@host")
    assert gpu_time(log.record, START + 5.5 * HOUR) == 2 * 1 * HOUR
    log.start(6, A).finish(9, A)
    assert gpu_time(log.record) == 2 * (1 + 3) * HOUR
    log.end(10).begin(20).end(21)
    assert gpu_time(log.record) == 2 * (1 + 3) * HOUR


@pytest.mark.parametrize(
    ("budget", "reason"),
    [
        ({}, None),
        ({"gpu_hours": 7.0}, None),
        ({"gpu_hours": 6.0}, "search.budget.gpu_hours: 6 of 6 hours are spent"),
        ({"wall_clock_hours": 3.5}, "search.budget.wall_clock_hours: 4 of 3.5 hours are spent"),
        ({"target_score": 0.9}, None),
        ({"target_score": 0.6}, "search.budget.target_score: t0000-aaaaaaaa has 0.7 of 0.6"),
    ],
)
def test_what_is_spent_is_said(budget: dict[str, float], reason: str | None) -> None:
    log = Log(make_sweep(budget=budget)).begin(0)
    log.start(1, A).report(3, A, 0.7).finish(4, A)
    assert spent(log.record, log.sweep.search) == reason


def test_only_a_complete_trial_reaches_the_target() -> None:
    log = Log(make_sweep(budget={"target_score": 0.6})).begin(0).start(1, A).report(3, A, 0.7)
    assert spent(log.record, log.sweep.search) is None
    assert spent(log.finish(4, A, "STOPPED").record, log.sweep.search) is None


def test_a_spent_budget_draws_no_more_and_lets_what_runs_end() -> None:
    rates = {"training.learning_rate": {"min": 1e-4, "max": 1e-2}}
    sweep = make_sweep(parameters=rates, queue_baselines=False, budget={"gpu_hours": 1.0})
    study = optuna.create_study(direction="maximize")
    said: list[str | None] = [None]
    searcher = StudySearcher(
        sweep=sweep,
        study=study,
        identify=lambda number, spec: (f"t{number}", str(spec.training.learning_rate)),
        room=lambda: 2,
        trials_folder="trials",
        budget_spent=lambda: said[0],
    )
    assert searcher.suggest("a") is not None
    said[0] = "spent"
    assert searcher.suggest("b") is None
    searcher.on_trial_complete("a", result(0.5))
    assert searcher.suggest("b") == Searcher.FINISHED
    assert (searcher.ended_by, study.best_value) == ("spent", 0.5)


def test_a_sweep_that_its_budget_ended_goes_on_with_more_of_it() -> None:
    log = Log(make_sweep(budget={"gpu_hours": 6.0})).begin(0)
    log.start(1, A).report(3, A, 0.7).finish(4, A).end(4)

    def start(**budget: float) -> object:
        return decide_start(log.record, None, make_sweep(budget=budget), DIGESTS, {})

    assert start(gpu_hours=6.0) == Finished(1)
    assert start(gpu_hours=5.0) == Finished(1), "less than was taken"
    assert isinstance(start(gpu_hours=8.0), Resume)
