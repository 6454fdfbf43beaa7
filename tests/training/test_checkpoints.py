"""A trial that was interrupted goes on as if nothing had happened, and no damage is believed."""

from __future__ import annotations

import json
import logging
import random
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from droplora_sweep.errors import TrialInterruptedError
from droplora_sweep.records.messages import Decision
from droplora_sweep.spec import CheckpointSpec
from droplora_sweep.spec.adapter import AdapterSpec
from droplora_sweep.spec.evaluation import EvaluationSpec
from droplora_sweep.spec.task import TaskSpec
from droplora_sweep.spec.trial import ModelSpec, TrainingSpec, TrialSpec
from droplora_sweep.training.checkpoints.places import CheckpointsInFolder, checkpoint_place
from droplora_sweep.training.checkpoints.store import Checkpoints, is_due
from droplora_sweep.training.runner import TrialRunner
from tests.saved_files import trained_files

if TYPE_CHECKING:
    from pathlib import Path

    from droplora_sweep.training.reporting import Report

NUM_STEPS = 6
"""Two evaluations, after steps 3 and 6."""
METHODS = {
    "plain": {"pruning_rate": 0.0},
    "token": {"mask": "token", "dropout": 0.1},
    "step": {"mask": "step"},
    "learned": {"mask": "learned", "pruning_schedule": "linear"},
    "dora": {"method": "dora", "mask": "token"},
    "pissa": {"method": "pissa", "mask": "step"},
    "lora_drop": {"method": "lora_drop", "lora_drop": {"sampling_share": 0.5}},
    "full": {"method": "full", "pruning_rate": 0.0},
}


def trial(model: Path, *, dtype: str = "float32", seed: int = 1, **adapter: object) -> TrialSpec:
    fields = {"rank": 4, "alpha": 8, "dropout": 0.0, "pruning_rate": 0.5}
    return TrialSpec(
        model=ModelSpec(path=str(model), dtype=dtype),
        adapter=AdapterSpec.model_validate({**fields, **adapter}),
        task=TaskSpec(benchmarks=("builtin_choice",), num_train=6, num_validation=2),
        training=TrainingSpec(
            learning_rate=1e-2, epochs=2, global_batch_size=2, micro_batch_size=1, warmup_steps=1
        ),
        evaluation=EvaluationSpec(num_evaluations=2, batch_size=2, max_new_tokens=3),
        seed=seed,
    )


class Caller:
    """Caller of a trial that keeps each report, and interrupts after a step or at an evaluation."""

    def __init__(
        self, *, stop_at: int = 0, stop_at_evaluation: int = 0, save_at: tuple[int, ...] = ()
    ) -> None:
        self.reports: list[Report] = []
        self.steps: list[int] = []
        self._stop_at = stop_at
        self._stop_at_evaluation = stop_at_evaluation
        self._save_at = save_at

    def decide(self, report: Report | None) -> Decision:
        assert report is not None
        self.reports.append(report)
        if report.evaluation.number == self._stop_at_evaluation:
            raise TrialInterruptedError("stopped while it waited")
        return Decision.GO_ON

    def on_step(self, step: int, num_steps: int) -> bool:
        assert num_steps == NUM_STEPS
        self.steps.append(step)
        if step == self._stop_at:
            raise TrialInterruptedError("stopped")
        return step in self._save_at


@pytest.fixture(scope="module")
def resident(saved_model: Path) -> TrialRunner:
    return TrialRunner(ModelSpec(path=str(saved_model)), threads=1)


def run(
    resident: TrialRunner, spec: TrialSpec, caller: Caller, folder: Path | None, keep: int = 2
) -> dict[str, bytes]:
    store = Checkpoints(CheckpointsInFolder(folder), CheckpointSpec(keep=keep)) if folder else None
    return trained_files(resident, spec, caller.decide, on_step=caller.on_step, checkpoints=store)


def interrupt(resident: TrialRunner, spec: TrialSpec, caller: Caller, folder: Path) -> Caller:
    with pytest.raises(TrialInterruptedError):
        run(resident, spec, caller, folder)
    return caller


def disturb_random_state() -> None:
    """As another process would have it."""
    for seed in (torch.manual_seed, np.random.seed, random.seed):
        seed(12345)


def timeless(report: Report) -> Report:
    """Without what a clock or another process's memory says."""
    unlike = {"tokens_per_second", "train_seconds", "evaluation_seconds", "peak_memory_gb"}
    metrics = {
        name: value for name, value in report.evaluation.metrics.items() if name not in unlike
    }
    return replace(report, evaluation=replace(report.evaluation, metrics=metrics))


SIMPLE = {"plain", "step"}
"""Others go the same way and more."""


@pytest.mark.parametrize(
    "method",
    [pytest.param(name, marks=[pytest.mark.slow] * (name in SIMPLE)) for name in METHODS],
)
def test_a_resumed_trial_gives_the_bytes_of_an_uninterrupted_one(
    resident, saved_model, tmp_path, method: str
) -> None:
    """Interrupted twice: in the middle of each half; LoRA-drop drops its layers between."""
    spec = trial(saved_model, **METHODS[method])
    whole = Caller()
    expected = run(resident, spec, whole, None)
    first = interrupt(resident, spec, Caller(stop_at=2), tmp_path)
    disturb_random_state()
    second = interrupt(resident, spec, Caller(stop_at=5), tmp_path)
    disturb_random_state()
    third = Caller()
    assert run(resident, spec, third, tmp_path) == expected
    assert (first.steps, second.steps, third.steps) == ([1, 2], [3, 4, 5], [6])
    # The last report before the interruption is given again, and nothing else is.
    assert [report.evaluation.number for report in third.reports] == [1, 2]
    assert third.reports[0] == second.reports[0]
    assert [timeless(one) for one in third.reports] == [timeless(one) for one in whole.reports]


def test_bf16_weights_are_resumed_with_their_fp32_master_copies(saved_model, tmp_path) -> None:
    spec = trial(saved_model, dtype="bfloat16", mask="step")
    resident = TrialRunner(spec.model, threads=1)
    expected = run(resident, spec, Caller(), None)
    interrupt(resident, spec, Caller(stop_at=4), tmp_path)
    assert run(resident, spec, Caller(), tmp_path) == expected


@pytest.mark.parametrize("evaluation", [1, 2])
def test_a_trial_interrupted_while_it_waits_does_not_evaluate_again(
    resident, saved_model, tmp_path, evaluation: int
) -> None:
    spec = trial(saved_model, mask="learned", pruning_schedule="cosine")
    expected = run(resident, spec, Caller(), None)
    before = interrupt(resident, spec, Caller(stop_at_evaluation=evaluation), tmp_path)
    after = Caller()
    assert run(resident, spec, after, tmp_path) == expected
    assert after.reports[0] == before.reports[-1]
    assert [report.evaluation.number for report in after.reports] == list(range(evaluation, 3))
    assert after.steps == list(range(3 * evaluation + 1, NUM_STEPS + 1))


def test_a_trial_that_is_ended_where_it_was_saved_gives_its_adapter(
    resident, saved_model, tmp_path
) -> None:
    spec = trial(saved_model, mask="step")
    first = trained_files(resident, spec, lambda report: Decision.END)
    interrupt(resident, spec, Caller(stop_at_evaluation=1), tmp_path)
    store = Checkpoints(CheckpointsInFolder(tmp_path), CheckpointSpec())
    assert trained_files(resident, spec, lambda report: Decision.END, checkpoints=store) == first


def test_a_checkpoint_beyond_where_the_trial_is_ended_is_not_used(
    resident, saved_model, tmp_path
) -> None:
    """The driver that let it go on was lost, and the new one decides otherwise."""
    spec = trial(saved_model, mask="step")
    expected = trained_files(resident, spec, lambda report: Decision.END)
    interrupt(resident, spec, Caller(stop_at=5), tmp_path)
    store = Checkpoints(CheckpointsInFolder(tmp_path), CheckpointSpec())
    assert trained_files(resident, spec, lambda report: Decision.END, checkpoints=store) == expected


def test_a_checkpoint_is_safetensors_and_json_and_its_owners_alone(
    resident, saved_model, tmp_path
) -> None:
    spec = trial(saved_model, mask="learned")
    interrupt(resident, spec, Caller(stop_at=2), tmp_path)
    [folder] = tmp_path.iterdir()
    assert folder.name == "step-00000002"
    assert sorted(path.name for path in folder.iterdir()) == [
        "MANIFEST.json",
        "exp_avg.safetensors",
        "exp_avg_sq.safetensors",
        "state.json",
        "weights.safetensors",
    ]
    assert {path.stat().st_mode & 0o077 for path in (folder, *folder.iterdir())} == {0}
    state = json.loads((folder / "state.json").read_text())
    assert (state["step"], state["num_updates"], state["num_workers"]) == (2, 2, 1)


def test_due_checkpoints_are_written_while_training_and_the_last_are_kept(
    resident, saved_model, tmp_path
) -> None:
    """One that is due at an evaluation is written after it, and holds its report."""
    run(resident, trial(saved_model), Caller(save_at=(1, 2, 3, 5)), tmp_path)
    newest, before = CheckpointsInFolder(tmp_path).names()
    assert [newest, before] == ["step-00000005", "step-00000003"]
    assert json.loads((tmp_path / before / "state.json").read_text())["evaluation"] == 1


def damage_truncate(folder: Path) -> None:
    path = folder / "exp_avg.safetensors"
    path.write_bytes(path.read_bytes()[:-7])


def damage_flip(folder: Path) -> None:
    path = folder / "weights.safetensors"
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)


def damage_delete(folder: Path) -> None:
    (folder / "state.json").unlink()


def damage_manifest(folder: Path) -> None:
    (folder / "MANIFEST.json").unlink()


DAMAGES = {
    damage_truncate: "exp_avg.safetensors: sha256 must be",
    damage_flip: "weights.safetensors: sha256 must be",
    damage_delete: "state.json: is missing",
    damage_manifest: "MANIFEST.json: must exist in a published folder",
}


@pytest.fixture(scope="module")
def two_checkpoints(resident, saved_model, tmp_path_factory) -> tuple[Path, dict[str, bytes]]:
    """A folder with two checkpoints of a trial, and what the trial gives in the end."""
    folder = tmp_path_factory.mktemp("two")
    return folder, run(resident, trial(saved_model), Caller(save_at=(2, 4)), folder)


@pytest.mark.faults
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_left_out_for_the_one_before(
    resident, saved_model, tmp_path, two_checkpoints, caplog, damage
) -> None:
    made, expected = two_checkpoints
    folder = shutil.copytree(made, tmp_path / "checkpoints")
    damage(folder / CheckpointsInFolder(folder).names()[0])
    caller = Caller()
    with caplog.at_level(logging.WARNING):
        assert run(resident, trial(saved_model), caller, folder) == expected
    assert caller.steps[0] == 3
    [record] = [record for record in caplog.records if "left out" in record.message]
    assert DAMAGES[damage] in record.message


@pytest.mark.faults
def test_without_a_usable_checkpoint_a_trial_starts_anew(
    resident, saved_model, tmp_path, two_checkpoints, caplog
) -> None:
    made, expected = two_checkpoints
    folder = shutil.copytree(made, tmp_path / "checkpoints")
    for name in CheckpointsInFolder(folder).names():
        damage_flip(folder / name)
    caller = Caller()
    assert run(resident, trial(saved_model), caller, folder) == expected
    assert caller.steps[0] == 1


def test_another_trials_checkpoint_is_refused(
    resident, saved_model, two_checkpoints, caplog
) -> None:
    caller = Caller(stop_at=1)
    other = trial(saved_model, seed=2)
    with pytest.raises(TrialInterruptedError):
        resident.run(
            other,
            caller.decide,
            on_step=caller.on_step,
            checkpoints=Checkpoints(
                CheckpointsInFolder(two_checkpoints[0]), CheckpointSpec(keep=9)
            ),
        )
    assert caller.steps == [1]
    assert "must be of this trial, got one of another" in caplog.text


@pytest.mark.faults
def test_a_folder_that_cannot_be_written_costs_the_checkpoint_alone(
    resident, saved_model, tmp_path, two_checkpoints, caplog
) -> None:
    (tmp_path / "file").write_text("")
    folder = tmp_path / "file" / "checkpoints"
    files = run(resident, trial(saved_model), Caller(save_at=(2,)), folder)
    assert files == two_checkpoints[1]
    assert f"{folder}/step-00000002: cannot write the checkpoint" in caplog.text


def test_a_trial_goes_on_from_a_url_on_a_machine_that_sees_no_folder(
    resident, saved_model, tmp_path, two_checkpoints, caplog
) -> None:
    """The newest whole checkpoint that is not damaged is taken from the object store."""
    _, expected = two_checkpoints
    share = tmp_path / "share"
    trial_url = f"{share.as_uri()}/demo/trials/t0000"
    spec, rule = trial(saved_model), CheckpointSpec(keep=2)
    caller = Caller(save_at=(1, 2, 4), stop_at=5)
    with pytest.raises(TrialInterruptedError):
        resident.run(
            spec,
            caller.decide,
            on_step=caller.on_step,
            checkpoints=Checkpoints(checkpoint_place(trial_url), rule),
        )
    place = checkpoint_place(trial_url)
    folder = share / "demo/trials/t0000/checkpoints"
    assert place.names() == ["step-00000005", "step-00000004"]
    damage_flip(folder / "step-00000005")
    # One whose upload did not come to its end has no manifest.
    (folder / "step-00000009").mkdir()
    (folder / "step-00000009" / "state.json").write_text("{}")
    after = Caller()
    checkpoints = Checkpoints(checkpoint_place(trial_url), rule)
    files = trained_files(
        resident, spec, after.decide, on_step=after.on_step, checkpoints=checkpoints
    )
    assert files == expected
    assert after.steps[0] == 5
    assert "weights.safetensors: sha256 must be" in caplog.text
    place.clear()
    assert place.names() == []
    assert [path for path in folder.rglob("*") if path.is_file()] == []


@pytest.mark.faults
def test_a_store_that_cannot_be_reached_costs_the_checkpoints_alone(
    resident, saved_model, tmp_path, two_checkpoints, caplog
) -> None:
    (tmp_path / "share").write_text("a file, where a folder is needed")
    place = checkpoint_place(f"{(tmp_path / 'share').as_uri()}/demo/trials/t0000")
    caller = Caller(save_at=(2,))
    files = trained_files(
        resident,
        trial(saved_model),
        caller.decide,
        on_step=caller.on_step,
        checkpoints=Checkpoints(place, CheckpointSpec()),
    )
    assert files == two_checkpoints[1]
    assert f"{place}: cannot look for checkpoints: {(tmp_path / 'share').as_uri()}" in caplog.text
    assert f"{place}/step-00000002: cannot write the checkpoint: " in caplog.text


def test_checkpoints_are_discarded_with_what_a_dead_writer_left(tmp_path) -> None:
    for name in ("step-00000001", ".step-00000002.tmp-0123abcd"):
        (tmp_path / "checkpoints" / name).mkdir(parents=True)
    checkpoint_place(str(tmp_path)).clear()
    assert list(tmp_path.iterdir()) == []
    checkpoint_place(str(tmp_path)).clear()


@pytest.mark.parametrize(
    ("spec", "num_steps", "seconds", "expected"),
    [
        ({"every_steps": 5, "every_minutes": None}, 4, 1e6, False),
        ({"every_steps": 5, "every_minutes": None}, 5, 0.0, True),
        ({"every_steps": None, "every_minutes": 2.0}, 1000, 119.0, False),
        ({"every_steps": None, "every_minutes": 2.0}, 1, 120.0, True),
        ({"every_steps": None, "every_minutes": None}, 10**6, 1e9, False),
    ],
)
def test_a_checkpoint_is_due_by_steps_or_by_minutes(spec, num_steps, seconds, expected) -> None:
    assert is_due(CheckpointSpec(**spec), num_steps, seconds) is expected
