"""Confirmation runs on a real pool, recorded in a real ledger; a scripted group trains them."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest
import ray

from droplora_sweep.evaluation.results import ExampleResult
from droplora_sweep.groups.messages import Closed
from droplora_sweep.groups.pool import start_pool
from droplora_sweep.ledger.writer import LedgerWriter
from droplora_sweep.records.layout import INCOMING
from droplora_sweep.records.trial import TrialState
from droplora_sweep.run.confirming import confirmation_of
from droplora_sweep.run.recorder import Recorder
from droplora_sweep.run.runs import Identity, queue_of, train_runs
from droplora_sweep.spec import SweepSpec, TrialSpec
from droplora_sweep.storage.file_set import described
from tests.recording import evaluated, planned
from tests.saved_files import write_files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.usefixtures("local_ray")]

IDENTITY = Identity({}, {"torch": "2"}, num_workers=1)
SWEEP = SweepSpec.model_validate(
    {
        "name": "s",
        "task": {"benchmarks": ["builtin_choice"]},
        "confirm": {"rates": 1, "seeds": 3},
    }
)
POISON = 44
"""The seed whose run fails."""


class Group:
    """A group that trains nothing: it leases, reports and finishes until it is stopped."""

    def __init__(self, name: str, pool: Any, leased: list[str], incoming: Path) -> None:
        self._name = name
        self._incoming = incoming
        self._pool = pool
        self._leased = leased
        self._thread = threading.Thread(target=self._serve, name=name)

    def __enter__(self) -> Group:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._call("close")
        self._thread.join()

    def _serve(self) -> None:
        self._call("enter", self._name, [])
        while not isinstance(lease := self._await_lease(), Closed):
            self._leased.append(lease.trial_id)
            self._call("begin", self._name, 0, 8)
            seed = TrialSpec.model_validate_json(lease.spec).seed
            if seed == POISON:
                self._call("fail", self._name, "loss is nan at step 3")
                continue
            result = ExampleResult("builtin_choice", "e0", "a", "a", "a", True, 1)
            score = evaluated(1, 8, {"confirm/mean": 1.0}, num_evaluations=1)
            self._call("report", self._name, score, (result,))
            left = write_files(self._incoming / lease.trial_id, {"weights": b"1"})
            self._call("finish", self._name, described(left))

    def _await_lease(self) -> Any:
        lease = None
        while lease is None:
            lease = self._call("lease", self._name, 1.0)
        return lease

    def _call(self, method: str, *args: Any) -> Any:
        return ray.get(getattr(self._pool, method).remote(*args))


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[LedgerWriter]:
    """Return a ledger whose search has found one rate beside p = 0."""
    ledger = LedgerWriter.create(tmp_path, SWEEP, versions=IDENTITY.versions)
    for number, rate in enumerate((0.0, 0.5)):
        adapter = SWEEP.adapter.model_copy(update={"pruning_rate": rate})
        spec = SWEEP.trial.model_copy(update={"adapter": adapter})
        name, digest = IDENTITY(number, spec)
        ledger.trial_started(planned(name, number, digest, spec, {"adapter.pruning_rate": rate}))
        scores = {"val/builtin_choice": 0.5 + rate / 10, "val/mean": 0.5 + rate / 10}
        ledger.trial_reported(name, evaluated(1, 8, scores, num_evaluations=1))
        ledger.trial_finished(name, TrialState.COMPLETE, results=[])
    yield ledger
    ledger.close()


def confirm(
    ledger: LedgerWriter,
    name: str,
    should_stop: Callable[[], bool] = lambda: False,
    may_start: Callable[[], bool] = lambda: True,
) -> list[str]:
    """Train the missing runs on two groups; which were leased, in order."""
    confirmation = confirmation_of(ledger.record, ledger)
    assert confirmation is not None
    pool = start_pool(name, SWEEP.group)
    recorder = Recorder(ledger, pool)
    leased: list[str] = []
    incoming = ledger.directory / INCOMING
    with Group("g0", pool, leased, incoming), Group("g1", pool, leased, incoming):
        train_runs(
            queue_of(confirmation, ledger, IDENTITY),
            pool,
            recorder,
            trials_folder=ledger.trials_location,
            capacity=lambda: 2,
            may_start=may_start,
            should_stop=should_stop,
        )
        recorder.close()
    return leased


def test_every_run_is_trained_once_and_one_that_fails_holds_nobody_up(ledger: LedgerWriter) -> None:
    leased = confirm(ledger, "each-once")
    runs = ledger.confirm_records()
    assert sorted(leased) == sorted(run.trial_id for run in runs)
    assert len(runs) == 6
    for run in runs:
        if run.spec["seed"] == POISON:
            assert (run.state, run.reason) == (TrialState.FAILED, "loss is nan at step 3")
        else:
            assert run.state is TrialState.COMPLETE
            assert run.metrics == {"confirm/mean": 1.0}
            assert run.adapter is not None
    # The failed runs count as done.
    after = confirmation_of(ledger.record, ledger)
    assert after is not None
    assert not [arm for arm, seed in after.progress.missing if seed in (43, 44, 45)]


def test_a_run_whose_score_an_earlier_driver_had_only_leaves_its_adapter(
    ledger: LedgerWriter,
) -> None:
    confirmation = confirmation_of(ledger.record, ledger)
    assert confirmation is not None
    first = queue_of(confirmation, ledger, IDENTITY)[0]
    ledger.trial_started(first)
    score = evaluated(1, 8, {"confirm/mean": 0.25}, num_evaluations=1)
    ledger.trial_reported(first.trial_id, score)

    leased = confirm(ledger, "scored-before")

    assert leased.count(first.trial_id) == 1
    run = ledger.trial(first.trial_id)
    assert run.spec == first.spec
    assert (run.state, run.attempts) == (TrialState.COMPLETE, 2)
    assert [report.metrics for report in run.evaluations] == [{"confirm/mean": 0.25}]
    assert run.adapter is not None


def test_a_run_is_left_unfinished_where_the_sweep_is_told_to_stop(ledger: LedgerWriter) -> None:
    def should_stop() -> bool:
        return bool(ledger.confirm_records())

    confirm(ledger, "stopped", should_stop)
    runs = ledger.confirm_records()
    # As many as there is capacity for, at the one turn before it was asked again.
    assert 1 <= len(runs) <= 2
    assert all(run.attempts == 1 for run in runs)


def test_no_run_starts_beyond_a_limit_and_those_that_have_begun_end(ledger: LedgerWriter) -> None:
    confirmation = confirmation_of(ledger.record, ledger)
    assert confirmation is not None
    begun = queue_of(confirmation, ledger, IDENTITY)[0]
    ledger.trial_started(begun)

    leased = confirm(ledger, "limited", may_start=lambda: len(ledger.confirm_records()) < 3)

    runs = ledger.confirm_records()
    assert leased.count(begun.trial_id) == 1
    assert len(runs) == len(leased) == 3
    assert all(run.is_finished for run in runs)
