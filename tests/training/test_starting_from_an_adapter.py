"""A trial can start from another one's adapter, and can be ended in the middle of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from droplora_sweep.errors import TrialError, TrialStoppedError
from droplora_sweep.spec import ModelSpec
from droplora_sweep.training.runner import TrialRunner
from tests.saved_files import trained_files
from tests.training.test_resident import Decisions, trial, weights_of

if TYPE_CHECKING:
    from pathlib import Path

STILL = {"learning_rate": 1e-9, "weight_decay": 0.0}
"""Enough to count as learning, and too little to move a weight by more than 1e-8."""


@pytest.fixture(scope="module")
def resident(saved_model: Path) -> TrialRunner:
    return TrialRunner(ModelSpec(path=str(saved_model)), threads=1)


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    "method",
    ["droplora", pytest.param("dora", marks=SLOW), pytest.param("rslora", marks=SLOW)],
)
def test_training_starts_from_every_value_of_the_adapter(resident, saved_model, method) -> None:
    trained = trained_files(resident, trial(saved_model, method=method), Decisions())
    still = trial(saved_model, seed=2, method=method, training=STILL)
    started = weights_of(trained_files(resident, still, Decisions(), start=trained))
    expected = weights_of(trained)
    assert started.keys() == expected.keys()
    for name, weights in expected.items():
        torch.testing.assert_close(started[name], weights, rtol=0, atol=1e-8)
    fresh = weights_of(trained_files(resident, still, Decisions()))
    assert any(not torch.equal(fresh[name], expected[name]) for name in expected)


@pytest.mark.parametrize("other", [{"rank": 2}, pytest.param({"method": "pissa"}, marks=SLOW)])
def test_an_adapter_of_other_shapes_fails_the_trial_alone(resident, saved_model, other) -> None:
    trained = trained_files(resident, trial(saved_model, **other), Decisions())
    with pytest.raises(TrialError, match="the adapter to start from has other shapes"):
        trained_files(resident, trial(saved_model), Decisions(), start=trained)
    assert trained_files(resident, trial(saved_model), Decisions())


def test_a_trial_that_is_stopped_at_a_step_leaves_the_resident_as_it_was(
    resident, saved_model
) -> None:
    before = trained_files(resident, trial(saved_model), Decisions())
    decisions = Decisions()

    def stop(step: int, num_steps: int) -> bool:
        if step == 5:
            raise TrialStoppedError("a user stopped it")
        return False

    with pytest.raises(TrialStoppedError):
        resident.run(trial(saved_model), decisions, on_step=stop)
    assert len(decisions.reports) == 1
    assert trained_files(resident, trial(saved_model), Decisions()) == before
