from datetime import UTC, datetime, timedelta

import pytest

from droplora_sweep.evaluation.results import ExampleResult
from droplora_sweep.ledger.writer import LedgerWriter
from droplora_sweep.records.events import Event, EventKind
from droplora_sweep.records.trial import TrialState, trial_id
from droplora_sweep.spec import AdapterSpec, SweepSpec, TaskSpec
from tests.recording import evaluated, planned
from tests.storage.conftest import url

__all__ = ["url"]

ADAPTER_FILES = {"adapter_model.safetensors": b"weights" * 100, "adapter_config.json": b"{}"}


def answers(num_correct=2, num_examples=4):
    return [
        ExampleResult(
            "choice", f"e{index}", "A: a", "a" if index else None, "a", index < num_correct, 7
        )
        for index in range(num_examples)
    ]


def make_sweep(name="demo", **fields):
    return SweepSpec(name=name, task=TaskSpec(name="toy", benchmarks=("choice",)), **fields)


class Driver:
    """Writes trials into a ledger as a driver does."""

    def __init__(self, ledger, sweep):
        self.ledger = ledger
        self.sweep = sweep

    def start(self, number, pruning_rate=0.2, **adapter):
        spec = self.sweep.trial.model_copy(
            update={
                "adapter": AdapterSpec(rank=8, pruning_rate=pruning_rate, **{"alpha": 64} | adapter)
            }
        )
        fingerprint = f"{number + 1:08x}" + "0" * 56
        name = trial_id(number, fingerprint)
        params = {"adapter.rank": 8, "adapter.pruning_rate": pruning_rate}
        self.ledger.trial_started(planned(name, number, fingerprint, spec, params))
        return name

    def report(self, name, evaluation, score=0.5):
        metrics = {"val/choice": score, "val/mean": score, "train/loss": 1 / evaluation}
        self.ledger.trial_reported(
            name, evaluated(evaluation, 10 * evaluation, metrics, num_evaluations=2)
        )

    def finish(
        self,
        name,
        state=TrialState.COMPLETE,
        reason=None,
        adapter_files=ADAPTER_FILES,
        num_correct=2,
    ):
        self.ledger.trial_finished(
            name, state, reason=reason, adapter_files=adapter_files, results=answers(num_correct)
        )

    def experiment_id(self, client):
        return client.get_experiment_by_name(self.ledger.record.experiment).experiment_id

    def run(self, number, state=TrialState.COMPLETE, reason=None, **given):
        name = self.start(number, **given)
        for evaluation in (1, 2):
            self.report(name, evaluation, score=evaluation / 10)
        self.finish(name, state, reason)
        return name


@pytest.fixture
def make_driver(tmp_path):
    """Starts a sweep in ``tmp_path / "results"``, or in another folder."""
    ledgers = []

    def make(name="demo", storage=tmp_path / "results", **fields):
        sweep = make_sweep(name, **fields)
        digests = {"choice/train": "ab" * 32, "choice/test": "cd" * 32}
        ledger = LedgerWriter.create(
            storage, sweep, data_digests=digests, versions={"torch": "2.13.0"}
        )
        ledgers.append(ledger)
        return Driver(ledger, sweep)

    yield make
    for ledger in ledgers:
        ledger.close()


@pytest.fixture
def driver(make_driver):
    return make_driver()


class History:
    """Events one second apart."""

    def __init__(self):
        self.events = []

    def add(self, kind, **payload):
        time = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=len(self.events))
        self.events.append(Event(seq=len(self.events), time=time, kind=kind, payload=payload))
        return self.events[-1]

    def start_sweep(self):
        spec = make_sweep().model_dump(mode="json")
        return self.add(
            EventKind.SWEEP_STARTED,
            sweep_id="5" * 32,
            name="demo",
            spec=spec,
            data_digests={},
            versions={},
        )

    def start(self, number):
        fingerprint = f"{number + 1:08x}"
        return self.add(
            EventKind.TRIAL_STARTED,
            trial_id=trial_id(number, fingerprint),
            number=number,
            fingerprint=fingerprint,
            spec=make_sweep().trial.model_dump(mode="json"),
            params={"adapter.rank": 8},
        )

    def report(self, number, evaluation, **metrics):
        return self.add(
            EventKind.TRIAL_REPORTED,
            trial_id=trial_id(number, f"{number + 1:08x}"),
            evaluation=evaluation,
            num_evaluations=3,
            step=10 * evaluation,
            metrics=metrics,
        )

    def finish(self, number, state="COMPLETE", reason=None, **metrics):
        return self.add(
            EventKind.TRIAL_FINISHED,
            trial_id=trial_id(number, f"{number + 1:08x}"),
            state=state,
            reason=reason,
            metrics=metrics,
            adapter="c0" * 32,
            results=None,
        )


@pytest.fixture
def history():
    return History()
