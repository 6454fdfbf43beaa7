"""A model's dimensions give the tensors that its files hold."""

from __future__ import annotations

import json
import math

import pytest

from droplora_sweep.models.inspecting import (
    inspect_model,
    published_models,
    read_dimensions,
)
from droplora_sweep.models.resolving import BUILTIN_FOLDER, resolve_model
from droplora_sweep.spec import ModelSpec


@pytest.mark.parametrize("hub_id", sorted(published_models()))
def test_published_dimensions_give_the_published_number_of_parameters(hub_id: str) -> None:
    published = published_models()[hub_id]

    counted = sum(math.prod(shape) for shape in published.dimensions.shapes().values())
    assert counted == published.num_parameters


def test_dimensions_give_the_tensors_of_a_models_files() -> None:
    config = json.loads((BUILTIN_FOLDER / "config.json").read_text())
    dimensions = read_dimensions(config)

    assert dimensions is not None
    assert dimensions.shapes() == inspect_model(resolve_model(ModelSpec())).shapes


def test_another_architecture_has_none() -> None:
    assert read_dimensions({"model_type": "mamba", "hidden_size": 8}) is None
    assert read_dimensions({"model_type": "llama", "hidden_size": 8}) is None


def test_a_well_known_model_is_inspected_without_its_files() -> None:
    summary = published_models()["meta-llama/Meta-Llama-3-8B"]

    assert summary.shapes["model.layers.31.self_attn.k_proj.weight"] == (1024, 4096)
    assert (summary.context_tokens, summary.weight_bytes) == (8192, 2 * 8_030_261_248)
    assert "owner/unheard-of" not in published_models()
