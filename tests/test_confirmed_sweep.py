"""One real sweep that is killed while it confirms, and goes on to its decision and its test."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from droplora_sweep.ledger.reader import Ledger
from droplora_sweep.records.trial import Stage, SweepOutcome, TrialState
from droplora_sweep.run.deciding import confirmed, on_test
from tests.faults.oracle import problems
from tests.faults.sweeping import NAME, ONE_GROUP, TINY, command, start, to_end, trials, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from droplora_sweep.records.trial import TrialRecord

pytestmark = [pytest.mark.slow, pytest.mark.ray, pytest.mark.faults, pytest.mark.timeout(900)]

NUM_SEARCH = 3
NUM_ARMS = 2
NUM_SEEDS = 3
SETTINGS = {
    **TINY,
    **ONE_GROUP,
    "search.num_trials": NUM_SEARCH,
    # It learns: where no rate is clearly above the untrained model there is nothing to decide.
    "task.benchmarks": "[builtin_math]",
    "task.num_train": 384,
    "training.epochs": 3,
    "evaluation.max_new_tokens": 48,
    "task.num_confirmation": 16,
    "task.num_test": 12,
    "confirm": f"{{rates: 1, seeds: {NUM_SEEDS}}}",
}
MARK = "confirmed-sweep"


def runs(storage: Path) -> list[TrialRecord]:
    return [trial for trial in trials(storage) if trial.stage is Stage.CONFIRM]


def test_a_sweep_killed_while_it_confirms_decides_as_if_nothing_had_been(tmp_path: Path) -> None:
    driver = start(command(tmp_path, **SETTINGS), MARK)
    wait_until(
        lambda: sum(trial.is_finished for trial in runs(tmp_path)) >= 2,
        driver,
        "two confirmation runs",
    )
    os.kill(driver.pid, signal.SIGKILL)
    driver.communicate(timeout=60)
    before = {trial.trial_id: trial for trial in runs(tmp_path) if trial.is_finished}
    assert len(before) < NUM_ARMS * NUM_SEEDS

    code, output = to_end(start(command(tmp_path, "resume", NAME), MARK))

    assert code == 0, output
    ledger = Ledger.open(tmp_path, NAME)
    assert ledger.record.outcome is SweepOutcome.COMPLETE
    assert len(ledger.search_records()) == NUM_SEARCH
    # Nothing was run twice.
    after = ledger.confirm_records()
    assert len(after) == NUM_ARMS * NUM_SEEDS
    assert problems(tmp_path, NAME, NUM_SEARCH + NUM_ARMS * NUM_SEEDS) == []
    for trial_id, trial in before.items():
        assert ledger.trial(trial_id).finished == trial.finished
        assert ledger.trial(trial_id).attempts == trial.attempts
    # The same seeds in every arm, none of the search's.
    seeds = {arm: sorted(t.spec["seed"] for t in after if t.arm == arm) for arm in arms(after)}
    assert list(seeds.values()) == [[43, 44, 45]] * NUM_ARMS
    for trial in after:
        assert trial.state is TrialState.COMPLETE
        assert "confirm/mean" in trial.metrics
        assert "val/mean" not in trial.metrics
    [decision] = confirmed(ledger)
    assert decision.num_seeds == NUM_SEEDS
    assert decision.num_examples == 16
    # The test split was scored once, for the winner and p = 0.
    lines = (tmp_path / NAME / "events.jsonl").read_text().splitlines()
    tested = [line for line in lines if '"kind":"trial_tested"' in line]
    assert decision.recommended is not None
    num_tested = NUM_SEEDS * (1 if decision.recommended.pruning_rate == 0 else 2)
    assert len(tested) == num_tested == sum(trial.is_tested for trial in after)
    [winner] = on_test(ledger)
    assert winner.num_examples == 12
    assert output.count(" test      builtin_math ") == num_tested
    # The untrained model was scored once on each split, whoever was killed meanwhile.
    assert set(ledger.record.references) == {"validation", "confirmation", "test"}
    for split in ("validation", "confirmation", "test"):
        scored = f'"kind":"reference_scored","payload":{{"split":"{split}"'
        assert sum(scored in line for line in lines) == 1
    assert "untrained model, test examples: builtin_math " in output
    # And never again.
    code, output = to_end(start(command(tmp_path, "resume", NAME), MARK))
    assert (code, "nothing to do" in output) == (0, True)
    assert (tmp_path / NAME / "events.jsonl").read_text().splitlines() == lines


def arms(records: list[TrialRecord]) -> list[str | None]:
    return list(dict.fromkeys(trial.arm for trial in records))
