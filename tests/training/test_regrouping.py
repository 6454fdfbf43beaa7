"""A trial of two workers is resumed by two, by one and by three, as real processes over gloo."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load

from droplora_sweep.spec.adapter import AdapterSpec
from droplora_sweep.spec.evaluation import EvaluationSpec
from droplora_sweep.spec.task import TaskSpec
from droplora_sweep.spec.trial import ModelSpec, TrainingSpec, TrialSpec

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
WORKER = "tests.training.checkpoint_worker"
METHODS = {
    "plain": {"pruning_rate": 0.0},
    "token": {"mask": "token", "dropout": 0.1},
    "step": {"mask": "step"},
    "learned": {"mask": "learned"},
    "dora": {"method": "dora", "mask": "step"},
    "pissa": {"method": "pissa", "mask": "step"},
    "lora_drop before": {"method": "lora_drop", "lora_drop": {"sampling_share": 0.8}},
    "lora_drop after": {"method": "lora_drop", "lora_drop": {"sampling_share": 0.3}},
    "full": {"method": "full", "pruning_rate": 0.0},
}
STOP_AT = 4
NUM_STEPS = 6


def trial(model: Path, **adapter: object) -> TrialSpec:
    fields = {"rank": 4, "alpha": 8, "dropout": 0.0, "pruning_rate": 0.5, "mask": "step"}
    return TrialSpec(
        model=ModelSpec(path=str(model)),
        adapter=AdapterSpec.model_validate({**fields, **adapter}),
        task=TaskSpec(benchmarks=("builtin_choice",), num_train=9, num_validation=3),
        training=TrainingSpec(
            learning_rate=1e-2, epochs=2, global_batch_size=3, micro_batch_size=1, warmup_steps=1
        ),
        evaluation=EvaluationSpec(num_evaluations=2, batch_size=2, max_new_tokens=3),
        seed=1,
    )


def run_group(num_workers: int, folder: Path, jobs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return rank 0's message about each job, from a group of real processes."""
    folder.mkdir()
    jobs_file = folder / "jobs.json"
    jobs_file.write_text(json.dumps(jobs))
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", WORKER, *map(str, (rank, num_workers, folder, jobs_file))],
            cwd=ROOT,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(num_workers)
    ]
    errors = [process.communicate()[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * num_workers, "\n".join(errors)
    results: list[dict[str, Any]] = torch.load(jobs_file.with_suffix(".pt"))
    return results


@pytest.fixture(scope="module")
def seen(
    saved_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[tuple[str, str], dict[str, Any]]:
    """By method: "whole", and by who took it up after two workers had stopped: "2", "1", "3"."""
    folder = tmp_path_factory.mktemp("regrouping")
    specs = [trial(saved_model, **adapter).model_dump(mode="json") for adapter in METHODS.values()]

    def jobs(saved: str | None, stop_at: int | None = None) -> list[dict[str, Any]]:
        return [
            {
                "spec": spec,
                "folder": saved and str(folder / saved / str(number)),
                "stop_at": stop_at,
            }
            for number, spec in enumerate(specs)
        ]

    first = run_group(2, folder / "first", jobs(None) + jobs("saved", STOP_AT))
    seen = {"whole": first[: len(specs)]}
    for num_workers in (2, 1, 3):
        copy = f"saved-{num_workers}"
        shutil.copytree(folder / "saved", folder / copy)
        seen[str(num_workers)] = run_group(num_workers, folder / f"group-{num_workers}", jobs(copy))
    return {
        (method, who): result
        for who, results in seen.items()
        for method, result in zip(METHODS, results, strict=True)
    }


def test_every_trial_was_taken_up_where_it_was_stopped(seen) -> None:
    steps = {who: result["steps"] for (_, who), result in seen.items()}
    assert steps == {"whole": [1, 2, 3, 4, 5, 6], "2": [5, 6], "1": [5, 6], "3": [5, 6]}


@pytest.mark.parametrize("method", METHODS)
def test_the_same_number_of_workers_gives_the_same_bytes(seen, method: str) -> None:
    assert seen[method, "2"]["files"] == seen[method, "whole"]["files"]


@pytest.mark.parametrize("method", sorted(METHODS.keys() - {"token"}))
@pytest.mark.parametrize("num_workers", ["1", "3"])
def test_another_number_of_workers_gives_the_same_but_for_rounding(
    seen, method: str, num_workers: str
) -> None:
    """Settings with no draw that depends on the worker, as ``token`` masks and dropout do."""
    name = "model.safetensors" if method == "full" else "adapter_model.safetensors"
    starts, whole = (load(seen[method, who]["files"][name]) for who in (num_workers, "whole"))
    torch.testing.assert_close(starts, whole, rtol=1e-3, atol=2e-5)


@pytest.mark.parametrize("num_workers", ["1", "3"])
def test_masks_that_depend_on_the_worker_are_drawn_anew(seen, num_workers: str) -> None:
    files = seen["token", num_workers]["files"]
    assert files is not None
    assert files != seen["token", "whole"]["files"]
    assert all(torch.isfinite(t).all() for t in load(files["adapter_model.safetensors"]).values())
