"""An evaluation whose metric is NaN or infinite stops nobody else, and leaves nothing running."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ray.tune.schedulers import TrialScheduler

from droplora_sweep.ledger.reader import Ledger
from droplora_sweep.ledger.writer import LedgerWriter
from droplora_sweep.records.messages import SUBMISSION, Submission
from droplora_sweep.records.trial import TrialState, trial_id
from droplora_sweep.run.deciding import decide
from droplora_sweep.search.history import search_history
from droplora_sweep.search.scheduler import BASELINE, NUMBER, make_scheduler
from droplora_sweep.spec import SweepSpec
from tests.recording import evaluated, planned, result

NOT_FINITE = [float("nan"), float("inf"), float("-inf")]


def client(name: str) -> Any:
    return SimpleNamespace(
        trial_id=name,
        config={SUBMISSION: Submission(trial_id=name, spec=""), NUMBER: 0, BASELINE: False},
    )


@pytest.mark.parametrize("score", NOT_FINITE)
def test_asha_compares_nobody_with_it(score: float) -> None:
    scheduler: Any = make_scheduler(SweepSpec(name="s"))

    def decision(name: str, score: float) -> str:
        trial = client(name)
        scheduler.on_trial_add(None, trial)
        return str(scheduler.on_trial_result(None, trial, result(score, 1)))

    assert decision("broken", score) == TrialScheduler.CONTINUE
    for number in range(6):
        assert decision(f"t{number}", 0.5) == TrialScheduler.CONTINUE
    assert decision("worse", 0.1) == TrialScheduler.STOP


@pytest.mark.parametrize("score", NOT_FINITE)
def test_the_ledger_ends_such_a_trial_and_decides_on_the_others(
    tmp_path: Any, score: float
) -> None:
    sweep = SweepSpec(name="s", task={"name": "toy", "benchmarks": ["builtin_choice"]})
    with_scores = {0: score, 1: 0.5}
    writer = LedgerWriter.create(tmp_path, sweep)
    for number, value in with_scores.items():
        fingerprint = f"{number:08x}" + "0" * 56
        name = trial_id(number, fingerprint)
        params = {"adapter.pruning_rate": 0.0}
        writer.trial_started(planned(name, number, fingerprint, sweep.trial, params))
        metrics = {"val/mean": value, "val/builtin_choice": value}
        writer.trial_reported(name, evaluated(1, 10, metrics, num_evaluations=1))
        writer.trial_finished(name, TrialState.COMPLETE, adapter_files={"adapter.bin": b"1"})
    writer.close()
    ledger = Ledger.open(tmp_path, "s")
    assert all(trial.is_finished for trial in ledger.records())
    known = search_history(ledger.record, "val/mean")
    assert [known.trials[number].state for number in with_scores] == ["FAILED", "COMPLETE"]
    assert not known.unfinished
    decisions = decide(ledger)
    assert [decision.best and decision.best.score for decision in decisions] == [0.5]
