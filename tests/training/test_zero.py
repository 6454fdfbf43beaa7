"""A base model that is split over workers, and an optimiser on the CPU, against stage 2.

The numbers are those of stage 2 to ``TOLERANCE``, relative to the largest of a tensor: the
operations are the same, and only the rounding of sums between workers could differ.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load

from droplora_sweep.spec import ZeroSpec
from droplora_sweep.spec.adapter import AdapterSpec
from droplora_sweep.spec.evaluation import EvaluationSpec
from droplora_sweep.spec.task import TaskSpec
from droplora_sweep.spec.trial import ModelSpec, TrainingSpec, TrialSpec
from tests.training.byte_model import save_model

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

TOLERANCE = 1e-5
TEXT = "The old mill by the river had not turned for years. " * 60
ROOT = Path(__file__).parents[2]
WORKER = "tests.training.zero_worker"

STAGE_2, STAGE_3 = ZeroSpec(), ZeroSpec(stage=3)
ON_CPU, BOTH_ON_CPU = ZeroSpec(offload="cpu"), ZeroSpec(stage=3, offload="cpu")
FULL = {"method": "full", "pruning_rate": 0.0}
KINDS: dict[str, dict[str, Any]] = {
    "step mask": {"mask": "step"},
    "token mask and dropout": {"mask": "token", "dropout": 0.1},
    "learned mask": {"mask": "learned"},
    "LoRA-drop": {"method": "lora_drop"},
    "checkpointed": {"training": {"gradient_checkpointing": True}},
    "bfloat16": {"dtype": "bfloat16"},
    "full": FULL,
    "full, checkpointed": {**FULL, "training": {"gradient_checkpointing": True}},
}


def trial(model: Path, zero: ZeroSpec, held_out: Path, **changes: Any) -> TrialSpec:
    training = changes.pop("training", {})
    dtype = changes.pop("dtype", "float32")
    adapter = {"rank": 4, "alpha": 8, "dropout": 0.0, "pruning_rate": 0.5, **changes}
    return TrialSpec(
        model=ModelSpec(path=str(model), dtype=dtype),
        adapter=AdapterSpec(**adapter),
        # Ranks have different numbers of examples, and decode for different numbers of steps.
        task=TaskSpec(benchmarks=("builtin_choice",), num_train=9, num_validation=5),
        training=TrainingSpec(
            learning_rate=1e-2,
            epochs=2,
            global_batch_size=4,
            micro_batch_size=1,
            warmup_steps=1,
            zero=zero,
            **training,
        ),
        evaluation=EvaluationSpec(
            num_evaluations=2,
            batch_size=1,
            max_new_tokens=3,
            likelihood=True,
            held_out_text=str(held_out),
        ),
        seed=1,
    )


def serve(folder: Path, trials: list[dict[str, Any]], num_ranks: int) -> list[dict[str, Any]]:
    """Return all that each rank saw."""
    (folder / "trials.json").write_text(json.dumps(trials))
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", WORKER, str(rank), str(num_ranks), str(folder)],
            cwd=ROOT,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(num_ranks)
    ]
    errors = [process.communicate()[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * num_ranks, "\n".join(errors)
    return [torch.load(folder / f"rank{rank}.pt", weights_only=False) for rank in range(num_ranks)]


def described(spec: TrialSpec, folder: str, stop_at: int | None = None) -> dict[str, Any]:
    return {"spec": spec.model_dump(mode="json"), "folder": folder, "stop_at": stop_at}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("model"), num_layers=3)


def inputs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("group")
    held_out = folder / "held_out.txt"
    held_out.write_text(TEXT)
    return folder, held_out


@pytest.fixture(scope="module")
def two(model: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Of two ranks: every kind at stage 2, then at 3; then what follows in `test_two_…`."""
    folder, held_out = inputs(tmp_path_factory)
    by_stage = [
        trial(model, zero, held_out, **changes)
        for zero in (STAGE_2, STAGE_3)
        for changes in KINDS.values()
    ]
    offloaded = [trial(model, zero, held_out, mask="step") for zero in (ON_CPU, BOTH_ON_CPU)]
    trials = [described(spec, f"t{index}") for index, spec in enumerate([*by_stage, *offloaded])]
    for name, zero in (("a", STAGE_3), ("b", BOTH_ON_CPU)):
        spec = trial(model, zero, held_out, mask="step")
        trials += [described(spec, name, stop_at=3), described(spec, name)]
    full = trial(model, BOTH_ON_CPU, held_out, **FULL)
    trials += [
        described(full, "c", stop_at=3),
        described(full, "c"),
        described(trial(model, ON_CPU, held_out, **FULL), "d"),
    ]
    return serve(folder, trials, 2)


@pytest.fixture(scope="module")
def four(model: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder, held_out = inputs(tmp_path_factory)
    kinds: tuple[dict[str, Any], ...] = ({"mask": "step"}, FULL)
    specs = [trial(model, zero, held_out, **one) for one in kinds for zero in (STAGE_2, STAGE_3)]
    return serve(folder, [described(one, f"t{i}") for i, one in enumerate(specs)], 4)


def check_equal(found: dict[str, Any], expected: dict[str, Any]) -> None:
    [name] = [file for file in expected["files"] if file.endswith("model.safetensors")]
    mine, other = (load(one["files"][name]) for one in (found, expected))
    assert mine.keys() == other.keys()
    for name, tensor in mine.items():
        difference = (tensor.float() - other[name].float()).abs().max()
        assert difference <= TOLERANCE * other[name].float().abs().max(), name
    assert [one.score for one in found["results"]] == [one.score for one in expected["results"]]
    for name in ("train/loss", "bits_per_byte/val/mean"):
        assert found["metrics"][name] == pytest.approx(expected["metrics"][name], rel=TOLERANCE)


@pytest.mark.parametrize("kind", KINDS)
def test_two_workers_train_as_at_stage_2(two: list[dict[str, Any]], kind: str) -> None:
    index, trials = list(KINDS).index(kind), two[0]["trials"]
    check_equal(trials[len(KINDS) + index], trials[index])


def test_four_workers_train_as_at_stage_2(four: list[dict[str, Any]]) -> None:
    trials = four[0]["trials"]
    check_equal(trials[1], trials[0])
    check_equal(trials[3], trials[2])


@pytest.mark.parametrize("number", [0, 1])
def test_an_optimiser_on_the_cpu_trains_as_one_beside_the_weights(
    two: list[dict[str, Any]], number: int
) -> None:
    trials = two[0]["trials"]
    check_equal(trials[2 * len(KINDS) + number], trials[0])


@pytest.mark.parametrize("number", [-1, -2])
def test_a_whole_model_trains_with_its_optimiser_on_the_cpu(
    two: list[dict[str, Any]], number: int
) -> None:
    """At stage 2, and at stage 3 resumed from a checkpoint."""
    trials = two[0]["trials"]
    check_equal(trials[number], trials[list(KINDS).index("full")])


@pytest.mark.parametrize("number", [0, 1])
def test_an_interrupted_trial_resumes_from_its_checkpoint(
    two: list[dict[str, Any]], number: int
) -> None:
    trials = two[0]["trials"]
    interrupted, resumed = trials[2 * len(KINDS) + 2 + 2 * number :][:2]
    assert interrupted is None
    check_equal(resumed, trials[0])


@pytest.mark.parametrize("ranks", ["two", "four"])
def test_each_worker_holds_its_part_alone(ranks: str, request: pytest.FixtureRequest) -> None:
    seen = request.getfixturevalue(ranks)
    for one in seen:
        held = one["split"]
        # Each unit is padded to a number that all ranks divide.
        assert held["num_bytes"] <= 1.01 * held["whole_bytes"] / len(seen)
        assert held["is_away"]
        assert held["shapes"] == held["expected_shapes"]


@pytest.mark.parametrize("ranks", ["two", "four"])
def test_ranks_with_different_numbers_of_forward_passes_stay_in_step(
    ranks: str, request: pytest.FixtureRequest
) -> None:
    assert all(one["split"]["is_equal"] for one in request.getfixturevalue(ranks))
