"""Sizes are computed from shapes alone; PEFT's count and the paper's are the references."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load
from transformers import LlamaConfig, LlamaForCausalLM

from droplora_sweep.adapters.attaching import attach
from droplora_sweep.adapters.sizes import (
    matched_modules,
    num_saved_numbers,
    num_trainable_parameters,
    unmatched_targets,
)
from droplora_sweep.spec import AdapterSpec, TrialSpec
from droplora_sweep.spec.methods import METHODS
from tests.saved_files import saved_files

CONFIGS = Path(__file__).parent / "configs"


def on_meta(name: str) -> LlamaForCausalLM:
    """A frozen model of this configuration that has shapes and no numbers."""
    with torch.device("meta"):
        model = LlamaForCausalLM(LlamaConfig.from_json_file(CONFIGS / f"{name}.json"))
    return model.eval().requires_grad_(False)


def shapes_of(model: LlamaForCausalLM) -> dict[str, tuple[int, ...]]:
    """Shapes as in the model's files: tied weights once."""
    return {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}


@pytest.fixture(scope="module")
def llama2_7b() -> LlamaForCausalLM:
    return on_meta("llama2_7b")


@pytest.fixture(scope="module")
def llama3_8b() -> LlamaForCausalLM:
    return on_meta("llama3_8b")


@pytest.mark.parametrize(
    ("model", "spec", "millions"),
    [
        ("llama2_7b", AdapterSpec(rank=32), "56.10"),
        pytest.param("llama2_7b", AdapterSpec(rank=64), "112.20", marks=pytest.mark.slow),
        pytest.param(
            "llama2_7b", AdapterSpec(rank=32, method="dora"), "56.98", marks=pytest.mark.slow
        ),
        pytest.param("llama3_8b", AdapterSpec(rank=32), "56.62", marks=pytest.mark.slow),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_counts_of_the_paper(request, model: str, spec: AdapterSpec, millions: str) -> None:
    base = request.getfixturevalue(model)
    count = num_trainable_parameters(shapes_of(base), spec)
    adapted = attach(base, spec, seed=1)

    assert f"{count / 1e6:.2f}" == millions
    assert count == adapted.num_trainable

    adapted.detach()


def test_a_whole_model_has_the_numbers_its_name_says(llama2_7b, llama3_8b) -> None:
    full = AdapterSpec(method="full")

    assert num_trainable_parameters(shapes_of(llama2_7b), full) == 6_738_415_616
    assert num_trainable_parameters(shapes_of(llama3_8b), full) == 8_030_261_248


@pytest.mark.parametrize(
    "fields",
    [
        {"target_modules": ("q_proj",)},
        {"target_modules": ("mlp.up_proj",)},
        {"method": "rslora", "pruning_rate": 0.5},
        *({"method": name} for name in METHODS),
        {"mask": "learned"},
        {"mask": "learned", "pruning_rate": 0.5},
        {"mask": "learned", "pruning_rate": 0.5, "method": "dora"},
        {"mask": "learned", "pruning_rate": 0.5, "module_pruning_rates": {"up_proj": 0.0}},
        {"mask": "learned", "module_pruning_rates": {"layers.1.mlp.up_proj": 0.5}},
    ],
    ids=str,
)
@pytest.mark.parametrize("rank", [1, 8])
def test_counts_are_those_of_what_is_attached(base, fields: dict[str, Any], rank: int) -> None:
    spec = AdapterSpec(rank=rank, **fields)
    shapes = shapes_of(base)
    adapted = attach(base, spec, seed=1)

    assert num_trainable_parameters(shapes, spec) == adapted.num_trainable > 0
    assert num_saved_numbers(shapes, spec) == num_in_files(
        saved_files(adapted, TrialSpec(adapter=spec))
    )

    adapted.detach()


def num_in_files(files: dict[str, bytes]) -> int:
    tensors = [load(data) for name, data in files.items() if name.endswith(".safetensors")]
    return sum(tensor.numel() for each in tensors for tensor in each.values())


def test_a_target_is_a_full_name_or_its_last_parts() -> None:
    shapes = {
        "m.a.q_proj.weight": (4, 2),
        "m.a.eq_proj.weight": (4, 2),
        "q_proj.bias": (4,),
    }
    assert matched_modules(shapes, ["q_proj"]) == {"m.a.q_proj": (4, 2)}
    assert matched_modules(shapes, ["m.a.eq_proj"]) == {"m.a.eq_proj": (4, 2)}
    assert matched_modules(shapes, ["proj"]) == {}


def test_targets_without_a_layer_are_named(llama3_8b) -> None:
    assert unmatched_targets(
        shapes_of(llama3_8b), ("q_proj", "qproj", "input_layernorm", "up_proj")
    ) == (
        "qproj",
        "input_layernorm",
    )


def test_planning_does_not_import_torch() -> None:
    code = (
        "import sys; from droplora_sweep.adapters.sizes import num_trainable_parameters;"
        "from droplora_sweep.models.inspecting import inspect_model;"
        "from droplora_sweep.models.resolving import resolve_model;"
        "from droplora_sweep.training.schedule import num_steps;"
        "print([m for m in ('torch', 'transformers', 'ray', 'peft') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
