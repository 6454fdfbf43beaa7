"""A real sweep that is taken a hand in while it runs, is killed, and goes on."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

import pytest

from droplora_sweep.cli import main
from droplora_sweep.ledger.reader import Ledger
from droplora_sweep.records.trial import TrialState
from tests.faults.sweeping import NAME, ONE_GROUP, command, start, to_end, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from droplora_sweep.records.trial import SweepRecord

LONG = {**ONE_GROUP, "search.num_trials": 2, "training.epochs": 30, "checkpoint.every_steps": 20}
"""Two trials one after the other, each of 90 steps: time to act on one."""


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    def call(*arguments: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as end:
            main(list(arguments))
        captured = capsys.readouterr()
        assert isinstance(end.value.code, int)
        return end.value.code, captured.out + captured.err

    return call


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(900)
def test_trials_are_stopped_pinned_and_cloned_and_all_of_it_outlives_the_driver(
    call: Any, tmp_path: Path
) -> None:
    storage = tmp_path / "results"
    where = ("--storage", str(storage))

    def record() -> SweepRecord:
        return Ledger.open(storage, NAME).record

    driver = start(command(storage, **LONG), str(tmp_path))
    wait_for(driver, "evaluated 1", trial=0)
    # Faults of the settings are told as a file's are, and nothing is asked of the driver.
    code, said = call("clone", NAME, "t0000", "--set", "adapter.rank=0", *where)
    assert (code, said) == (2, "--set adapter.rank=0: adapter.rank: must be at least 1, got 0\n")
    code, said = call("clone", NAME, "t0000", "--from-adapter", *where)
    assert code == 2
    assert "--from-adapter: must be of a trial with an adapter, got t0000-" in said
    changes = ("--set", "training.epochs=1", "--set", "adapter.pruning_rate=0.2")
    code, said = call("clone", NAME, "t0000", *changes, *where)
    assert code == 0, said
    code, said = call("clone", NAME, "t0000", *changes, *where)
    assert code == 1
    assert said.endswith("the sweep has a trial of these settings\n")
    code, said = call("stop-trial", NAME, "t0000", *where)
    assert code == 0
    assert said.endswith("ends at its next step\n")

    # The clone comes next, and the search goes on after it.
    wait_for(driver, "evaluated 1", trial=1)
    stopped, clone, other = record().trials
    assert stopped.state is TrialState.STOPPED
    assert stopped.reason is not None
    assert stopped.reason.startswith("droplora-sweep stop-trial, by ")
    assert [each.number for each in stopped.evaluations] == [1]
    assert clone.clone_of == stopped.trial_id
    assert clone.params["training.epochs"] == 1
    assert clone.state is TrialState.COMPLETE
    assert other.clone_of is None
    code, said = call("pin", NAME, clone.trial_id, *where)
    assert (code, said) == (1, f"{clone.trial_id}: must be running, got complete\n")
    code, said = call("pin", NAME, other.trial_id, *where)
    assert (code, said) == (0, f"{other.trial_id}: pinned; the scheduler will not stop it\n")
    warm = ("--from-adapter", "--set", "training.learning_rate=0.001")
    code, said = call("clone", NAME, clone.trial_id, *warm, *where)
    assert code == 0, said
    [queued] = record().queued_clones
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()

    resumed = start(command(storage, "resume", NAME), str(tmp_path))
    code, output = to_end(resumed)
    assert code == 0, output
    after = record()
    assert [trial.state for trial in after.trials] == [
        TrialState.STOPPED,
        TrialState.COMPLETE,
        TrialState.COMPLETE,
        TrialState.COMPLETE,
    ]
    assert after.trials[0] == stopped
    assert after.trials[2].pinned_by is not None
    warmed = after.trials[3]
    assert warmed.trial_id == queued.trial_id
    assert warmed.start is not None
    assert warmed.start.digest == clone.adapter_digest
    # It went on from what its parent had learnt.
    first = {trial.trial_id: trial.evaluations[0].metrics["train/loss"] for trial in after.trials}
    assert first[warmed.trial_id] < first[clone.trial_id]
    # It does not decide about rates, and neither does a clone of other epochs.
    ids = [trial.trial_id for trial in Ledger.open(storage, NAME).search_records()]
    assert ids == [stopped.trial_id, other.trial_id]
    _, said = call("status", NAME, *where)
    assert "(clone of t0002, from its adapter)" in said

    code, said = call("rerun", NAME, warmed.trial_id, "--address", "local", *where)
    assert code == 0, said
    assert f"{warmed.trial_id}: reproduced to the byte\n" in said
    assert record() == after
