"""One real sweep over a base model that is split over the workers of a group, to its decision."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from droplora_sweep.ledger.files import verify_adapter
from droplora_sweep.ledger.reader import Ledger
from droplora_sweep.records.trial import SweepOutcome, TrialState
from tests.faults.sweeping import NAME, TINY, command, start, to_end

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.slow, pytest.mark.ray, pytest.mark.timeout(900)]

SETTINGS = {
    **TINY,
    "group.max_groups": 1,
    "training.zero.stage": 3,
    "training.zero.offload": "cpu",
    "search.num_trials": 2,
    "search.stopping": "{kind: none}",
    "search.queue_baselines": "false",
    "task.num_train": 32,
    "training.epochs": 1,
    "confirm": "{rates: 2, seeds: 3}",
}
MARK = "zero"


def test_a_sweep_over_a_split_base_model(tmp_path: Path) -> None:
    """The group searches, confirms, scores a trained adapter on the test split, and runs again."""
    code, output = to_end(start(command(tmp_path, **SETTINGS), MARK), 800)
    assert code == 0, output
    record = Ledger.open(tmp_path, NAME).record
    assert record.outcome is SweepOutcome.COMPLETE
    assert [trial.state for trial in record.search_trials] == [TrialState.COMPLETE] * 2
    assert len(record.confirm_trials) >= 3
    for trial in record.trials:
        assert trial.adapter is not None
        verify_adapter(trial.adapter)
        assert trial.spec["training"]["zero"] == {"stage": 3, "offload": "cpu"}
    first = record.search_trials[0].trial_id
    again = command(tmp_path, "rerun", NAME, first)
    code, output = to_end(start(again, MARK))
    assert code == 0, output
