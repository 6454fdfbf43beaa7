"""Sizes are computed from shapes alone; PEFT's count and the paper's are the references."""

from __future__ import annotations

import subprocess
import sys

import pytest

from droplora_sweep.adapters import (
    attach,
    matched_modules,
    num_trainable_parameters,
    unmatched_targets,
)
from droplora_sweep.spec.trial import AdapterSpec


def llama_shapes(
    *, layers: int, hidden: int, inner: int, key_value: int
) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (32000, hidden)}
    for index in range(layers):
        attention, mlp = f"model.layers.{index}.self_attn", f"model.layers.{index}.mlp"
        shapes |= {
            f"{attention}.q_proj.weight": (hidden, hidden),
            f"{attention}.k_proj.weight": (key_value, hidden),
            f"{attention}.v_proj.weight": (key_value, hidden),
            f"{attention}.o_proj.weight": (hidden, hidden),
            f"{mlp}.gate_proj.weight": (inner, hidden),
            f"{mlp}.up_proj.weight": (inner, hidden),
            f"{mlp}.down_proj.weight": (hidden, inner),
            f"model.layers.{index}.input_layernorm.weight": (hidden,),
        }
    return shapes


LLAMA2_7B = llama_shapes(layers=32, hidden=4096, inner=11008, key_value=4096)
LLAMA3_8B = llama_shapes(layers=32, hidden=4096, inner=14336, key_value=1024)


@pytest.mark.parametrize(
    ("shapes", "rank", "millions"),
    [(LLAMA2_7B, 32, "56.10"), (LLAMA2_7B, 64, "112.20"), (LLAMA3_8B, 32, "56.62")],
)
def test_counts_of_the_paper(shapes: dict[str, tuple[int, ...]], rank: int, millions: str) -> None:
    count = num_trainable_parameters(shapes, AdapterSpec(rank=rank))
    assert f"{count / 1e6:.2f}" == millions


@pytest.mark.parametrize(
    "targets",
    [("q_proj",), ("q_proj", "k_proj", "v_proj", "up_proj", "down_proj"), ("mlp.up_proj",)],
)
@pytest.mark.parametrize("rank", [1, 8])
def test_count_is_pefts_own(base, targets: tuple[str, ...], rank: int) -> None:
    spec = AdapterSpec(rank=rank, target_modules=targets)
    shapes = {name: tuple(tensor.shape) for name, tensor in base.state_dict().items()}
    expected = num_trainable_parameters(shapes, spec)
    trainable, _ = attach(base, spec, seed=1).get_nb_trainable_parameters()
    assert expected == trainable > 0


def test_a_target_is_a_full_name_or_its_last_parts() -> None:
    shapes = {
        "m.a.q_proj.weight": (4, 2),
        "m.a.eq_proj.weight": (4, 2),
        "q_proj.bias": (4,),
    }
    assert matched_modules(shapes, ["q_proj"]) == {"m.a.q_proj": (4, 2)}
    assert matched_modules(shapes, ["m.a.eq_proj"]) == {"m.a.eq_proj": (4, 2)}
    assert matched_modules(shapes, ["proj"]) == {}


def test_targets_without_a_layer_are_named() -> None:
    assert unmatched_targets(LLAMA3_8B, ("q_proj", "qproj", "input_layernorm", "up_proj")) == (
        "qproj",
        "input_layernorm",
    )


def test_planning_does_not_import_torch() -> None:
    code = (
        "import sys; from droplora_sweep.adapters import num_trainable_parameters;"
        "from droplora_sweep.models import inspect_model, resolve_model;"
        "from droplora_sweep.training import num_steps;"
        "print([m for m in ('torch', 'transformers', 'ray', 'peft') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
