"""Members of a population copy weights and optimiser, and go on as the one that they copied."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest
import torch
from safetensors.torch import load

from droplora_sweep.errors import TrialError, TrialInterruptedError
from droplora_sweep.records.layout import SNAPSHOTS
from droplora_sweep.records.messages import Decision
from droplora_sweep.spec import CheckpointSpec, ExploitStep
from droplora_sweep.spec.adapter import AdapterSpec
from droplora_sweep.spec.evaluation import EvaluationSpec
from droplora_sweep.spec.task import TaskSpec
from droplora_sweep.spec.trial import ModelSpec, TrainingSpec, TrialSpec
from droplora_sweep.training.checkpoints.places import CheckpointsInFolder, checkpoint_place
from droplora_sweep.training.checkpoints.store import Checkpoints
from droplora_sweep.training.population import Membership, snapshots_of
from droplora_sweep.training.runner import TrialRunner
from tests.saved_files import trained_files

if TYPE_CHECKING:
    from pathlib import Path

    from droplora_sweep.training.reporting import Report

RATE, PEAK = "adapter.pruning_rate", "training.learning_rate"


def trial(model: Path, rate: float, peak: float = 1e-2, **adapter: object) -> TrialSpec:
    """Six steps, evaluated after 2, 4 and 6."""
    fields = {"rank": 4, "alpha": 8, "dropout": 0.0, "mask": "token", "pruning_rate": rate}
    return TrialSpec(
        model=ModelSpec(path=str(model)),
        adapter=AdapterSpec.model_validate({**fields, **adapter}),
        task=TaskSpec(benchmarks=("builtin_choice",), num_train=6, num_validation=2),
        training=TrainingSpec(
            learning_rate=peak, epochs=2, global_batch_size=2, micro_batch_size=2, warmup_steps=1
        ),
        evaluation=EvaluationSpec(num_evaluations=3, batch_size=2, max_new_tokens=3),
        seed=1,
    )


class Driver:
    """Gives turns by evaluation, and interrupts after a step where it is told to."""

    def __init__(self, *exploit_steps: ExploitStep, stop_at: int = 0) -> None:
        self.reports: list[Report] = []
        self.steps: list[int] = []
        self._turns = {turn.evaluation: turn for turn in exploit_steps}
        self._stop_at = stop_at

    def decide(self, report: Report | None) -> Decision | ExploitStep:
        assert report is not None
        self.reports.append(report)
        return self._turns.get(report.evaluation.number, Decision.GO_ON)

    def on_step(self, step: int, num_steps: int) -> bool:
        self.steps.append(step)
        if step == self._stop_at:
            raise TrialInterruptedError("stopped")
        return False


@pytest.fixture(scope="module")
def resident(saved_model: Path) -> TrialRunner:
    return TrialRunner(ModelSpec(path=str(saved_model)), threads=1)


def run(
    resident: TrialRunner,
    spec: TrialSpec,
    driver: Driver,
    folder: Path,
    taken: tuple[ExploitStep, ...] = (),
) -> dict[str, torch.Tensor]:
    place_of = partial(checkpoint_place, name=SNAPSHOTS)
    store = Checkpoints(CheckpointsInFolder(folder / "checkpoints"), CheckpointSpec())
    files = trained_files(
        resident,
        spec,
        driver.decide,
        on_step=driver.on_step,
        checkpoints=store,
        membership=Membership(taken, snapshots_of(str(folder), place_of)),
    )
    return load(files["adapter_model.safetensors"])


def same(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    return left.keys() == right.keys() and all(
        torch.equal(left[name], right[name]) for name in left
    )


@pytest.mark.parametrize("method", ["droplora", pytest.param("pissa", marks=pytest.mark.slow)])
def test_with_the_other_s_values_a_copy_gives_the_bytes_of_the_other(
    resident, saved_model, tmp_path, method: str
) -> None:
    """Weights, moments, step count, data and learning rate go on as those of the other."""
    adapter = {} if method == "droplora" else {"method": method}
    better, worse = tmp_path / "better", tmp_path / "worse"
    first = run(resident, trial(saved_model, 0.5, **adapter), Driver(), better)
    turn = ExploitStep(2, "better", {RATE: 0.5, PEAK: 1e-2})
    driver = Driver(turn)
    second = run(resident, trial(saved_model, 0.0, 3e-3, **adapter), driver, worse)
    assert same(first, second)
    assert driver.steps == [1, 2, 3, 4, 5, 6]
    assert [report.evaluation.number for report in driver.reports] == [1, 2, 3]
    alone = run(resident, trial(saved_model, 0.0, 3e-3, **adapter), Driver(), tmp_path / "alone")
    assert not same(second, alone)


def test_a_member_that_is_interrupted_after_its_turn_goes_on_as_if_it_had_not_been(
    resident, saved_model, tmp_path
) -> None:
    run(resident, trial(saved_model, 0.5), Driver(), tmp_path / "better")
    turn = ExploitStep(1, "better", {RATE: 0.3, PEAK: 5e-3})
    spec = trial(saved_model, 0.0)
    whole = run(resident, spec, Driver(turn), tmp_path / "whole")
    cut = tmp_path / "cut"
    with pytest.raises(TrialInterruptedError):
        run(resident, spec, Driver(turn, stop_at=3), cut)
    driver = Driver(turn)
    assert same(run(resident, spec, driver, cut, taken=(turn,)), whole)
    assert driver.steps == [4, 5, 6], "its checkpoint is of after the turn"
    # Of a group that left no checkpoint there is what the ledger says of the turn.
    driver = Driver(turn)
    assert same(run(resident, spec, driver, tmp_path / "whole", taken=(turn,)), whole)
    assert driver.steps == [3, 4, 5, 6], "it begins where it copied"


def test_a_snapshot_that_is_gone_or_of_another_shape_fails_the_trial_in_one_line(
    resident, saved_model, tmp_path
) -> None:
    turn = ExploitStep(1, "better", {RATE: 0.3, PEAK: 5e-3})
    with pytest.raises(TrialError, match=r"cannot copy better after step 2: .*must exist"):
        run(resident, trial(saved_model, 0.0), Driver(turn), tmp_path / "first")
    run(resident, trial(saved_model, 0.5, rank=8), Driver(), tmp_path / "better")
    with pytest.raises(TrialError, match="must be of this trial, got one of another"):
        run(resident, trial(saved_model, 0.0), Driver(turn), tmp_path / "second")
