"""A population whose driver is killed right after a turn, and that goes on from its storage."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from droplora_sweep.ledger.log import VARIABLE
from droplora_sweep.ledger.reader import Ledger, read_sweep
from droplora_sweep.records.events import EventKind
from droplora_sweep.records.replay import replay
from droplora_sweep.records.trial import TrialState
from droplora_sweep.run.population import missing_exploit
from droplora_sweep.spec import ExploitStep, SweepSpec

from .sweeping import NAME, ONE_GROUP, TIMEOUT_S, TINY, command, ray_folders, start, to_end

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.ray, pytest.mark.faults, pytest.mark.slow, pytest.mark.timeout(900)]

NUM_MEMBERS = 7
MARK = "population"
SETTINGS = {
    **TINY,
    **ONE_GROUP,
    "search.num_trials": NUM_MEMBERS,
    "search.sampler": "random",
    "search.population": "{min_members: 2, quantile: 0.5}",
    "search.parameters": "{adapter.pruning_rate: {min: 0.0, max: 0.9}, "
    "training.learning_rate: {min: 1e-4, max: 3e-2, scale: log}}",
    "training.epochs": 7,
    "task.num_validation": 32,
    "evaluation.num_evaluations": 3,
}
TURNS_BEFORE_THE_KILL = 12


def test_every_turn_is_taken_once_and_follows_from_the_ledger_before_it(
    tmp_path: Path, left_folders: set[Path]
) -> None:
    run = command(tmp_path, **SETTINGS)
    driver = start(run, MARK, {VARIABLE: f"trial-turned:{TURNS_BEFORE_THE_KILL}"})
    code, output = to_end(driver)
    left_folders |= ray_folders(MARK)
    assert code == -signal.SIGKILL, output
    again = start(run, MARK)
    later, _ = again.communicate(timeout=TIMEOUT_S)
    assert again.returncode == 0, later
    output += later

    ledger = Ledger.open(tmp_path, NAME)
    members = ledger.records()
    assert [trial.state for trial in members] == [TrialState.COMPLETE] * NUM_MEMBERS
    # Every evaluation but the last was decided on, once, and the two baselines copied nobody.
    assert [[turn.evaluation for turn in trial.exploit_steps] for trial in members] == [
        [1, 2]
    ] * len(members)
    assert not members[0].schedule
    assert not members[1].schedule
    copied = [trial for trial in members if trial.schedule]
    assert copied
    for trial in copied:
        assert f"{trial.trial_id} copied t" in output
        assert (trial.adapter / "README.md").read_text().count("weights and optimiser of") == len(
            trial.schedule
        )
        assert trial not in ledger.search_records()

    sweep = SweepSpec.model_validate(ledger.record.spec)
    events = read_sweep(ledger.directory).events
    for index, event in enumerate(events):
        if event.kind is EventKind.TRIAL_EXPLOITED:
            fields = {name: value for name, value in event.payload.items() if name != "trial_id"}
            before = replay(events[:index], ledger.directory)
            assert missing_exploit(before, event.payload["trial_id"], sweep) == ExploitStep(
                **fields
            )
    assert not list(tmp_path.glob("*/trials/*/snapshots"))
    code, output = to_end(start(command(tmp_path, "status", NAME), MARK))
    assert code == 0
    assert "schedules by val/mean" in output
