"""Arithmetic, GPU hours and pace by hand."""

from __future__ import annotations

import pytest

from droplora_sweep.models.inspecting import published_models
from droplora_sweep.plan.costs.pace import Pace
from droplora_sweep.plan.costs.work import (
    GPUS,
    flops_per_token,
    gpu_hours,
    most_tokens,
    smallest_gpu,
    trial_flops,
)
from droplora_sweep.spec import AdapterSpec, TrainingSpec, TrialSpec

LLAMA2 = published_models()["meta-llama/Llama-2-7b-hf"].dimensions
NUM_MATRIX = 32 * (4 * 4096 * 4096 + 3 * 4096 * 11008) + 32_000 * 4096
NUM_LORA = 56_098_816
ATTENTION = 2 * 4096 * 32 * 512


def flops(method: str = "lora", **training: bool | int) -> float:
    trial = TrialSpec(
        adapter=AdapterSpec(method=method, rank=32), training=TrainingSpec(**training)
    )
    return flops_per_token(LLAMA2.shapes(), LLAMA2, trial, 512)


def test_a_frozen_base_takes_4_per_number_and_an_adapter_6() -> None:
    assert flops() == 4 * NUM_MATRIX + 6 * NUM_LORA + 3 * ATTENTION


def test_a_full_model_takes_6_per_number() -> None:
    assert flops("full") == 6 * NUM_MATRIX + 3 * ATTENTION


def test_checkpointing_runs_forward_twice() -> None:
    again = 2 * NUM_MATRIX + 2 * NUM_LORA + ATTENTION

    assert flops(gradient_checkpointing=True) == flops() + again


def test_a_trial_and_its_gpu_hours() -> None:
    trial = TrialSpec(training=TrainingSpec(epochs=2, max_sequence_tokens=512))
    per_token = flops_per_token(LLAMA2.shapes(), LLAMA2, trial, 512)

    assert most_tokens(trial, 1000) == 1000 * 2 * 512
    assert trial_flops(LLAMA2.shapes(), LLAMA2, trial, 1000) == per_token * 1_024_000
    assert gpu_hours(312e12 * 0.5 * 7200, GPUS["A100-80G"], 0.5) == pytest.approx(2)


def test_the_smallest_of_a_clusters_gpus_counts() -> None:
    large = {"CPU": 8.0, "GPU": 4.0, "accelerator_type:A100-80G": 1.0}
    small = {"CPU": 8.0, "GPU": 1.0, "accelerator_type:L4": 1.0}
    unknown = {"CPU": 8.0, "GPU": 1.0, "accelerator_type:FUTURE": 1.0}

    assert smallest_gpu([large, small, {"CPU": 4.0}]) == GPUS["L4"]
    assert smallest_gpu([large, unknown]) is None
    assert smallest_gpu([large, {"GPU": 1.0}]) is None
    assert smallest_gpu([{"CPU": 4.0}]) is None


def test_groups_take_trials_in_rounds() -> None:
    pace = Pace(start_s=10, step_s=0.5, evaluation_s=4, overhead_s=2)

    assert pace.trial_seconds(num_steps=20, num_evaluations=3) == 24
    assert pace.all_seconds(20, 3, num_trials=7, num_groups=3) == 3 * 24
