"""Trials whose training gives NaN or infinity: each fails with its reason, the others go on."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from droplora_sweep.ledger.reader import Ledger
from droplora_sweep.records.trial import TrialState

from .oracle import problems
from .sweeping import NAME, ONE_GROUP, command, start, to_end
from .table import recorded

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.ray, pytest.mark.faults, pytest.mark.slow, pytest.mark.timeout(900)]

NUM_TRIALS = 6
SETTINGS = {
    **ONE_GROUP,
    "search.num_trials": NUM_TRIALS,
    "search.sampler": "random",
    "search.parameters.adapter.rank": "null",
    "search.parameters.adapter.alpha": "null",
    "search.parameters.adapter.pruning_rate": "{values: [0.0, 0.4]}",
    "search.parameters.training.learning_rate": "{values: [5e-3, 1e3, 1e12]}",
}
"""Every trial of the space: the second rate gives infinity, the third NaN."""


def test_nan_and_infinity_fail_their_trials_and_nothing_else(tmp_path: Path) -> None:
    mark = str(tmp_path)
    with recorded("NaN and infinity in loss and gradient") as row:
        code, output = to_end(start(command(tmp_path, **SETTINGS), mark))
        ledger = Ledger.open(tmp_path, NAME)
        failed = [trial for trial in ledger.records() if trial.state is TrialState.FAILED]
        reasons = [str(trial.reason) for trial in failed]
        row.injected = len(failed)
        found = problems(tmp_path, NAME, NUM_TRIALS, mark)
        states = Counter(trial.state.name for trial in ledger.study.trials)
        row.result = "; ".join(found) or f"{len(failed)} failed with their reasons, others complete"
        assert code == 3, output
        assert found == []
        assert any("loss is nan at step" in reason for reason in reasons)
        assert any(" is inf at step" in reason for reason in reasons)
        assert all("a lower learning rate than" in reason for reason in reasons)
        assert {trial.params["training.learning_rate"] for trial in failed} == {1e3, 1e12}
        assert states["RUNNING"] == 0, "Optuna is told of every one"
        assert states["COMPLETE"] >= NUM_TRIALS - len(failed)
        assert states["FAIL"] >= len(failed)
