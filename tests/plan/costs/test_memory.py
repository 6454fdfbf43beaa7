"""Memory part by part: by hand, and against what real models and optimisers hold."""

from __future__ import annotations

import pytest
import torch

from droplora_sweep.adapters.attaching import attach
from droplora_sweep.models.inspecting import inspect_model, published_models
from droplora_sweep.models.loading import load_base_model
from droplora_sweep.models.resolving import resolve_model
from droplora_sweep.plan.costs.memory import (
    GIB,
    kv_cache_bytes,
    logit_bytes,
    training_memory,
    weight_bytes,
)
from droplora_sweep.spec import (
    AdapterSpec,
    EvaluationSpec,
    ModelSpec,
    TrainingSpec,
    TrialSpec,
    ZeroSpec,
)

LLAMA2 = published_models()["meta-llama/Llama-2-7b-hf"].dimensions
PAPER = TrialSpec(
    model=ModelSpec(path="meta-llama/Llama-2-7b-hf", dtype="bfloat16"),
    adapter=AdapterSpec(rank=32, alpha=64),
    training=TrainingSpec(
        micro_batch_size=32, max_sequence_tokens=512, gradient_checkpointing=True
    ),
    evaluation=EvaluationSpec(batch_size=32, max_new_tokens=2048),
)
NUM_LORA = 56_098_816
"""32 layers x rank 32 x (3 x 8192 + 2 x 15104)."""


def memory(trial: TrialSpec = PAPER, **settings: int):
    return training_memory(LLAMA2.shapes(), LLAMA2, trial, **{"num_workers": 4, **settings})


def test_the_papers_setting_by_hand() -> None:
    found = memory()

    assert NUM_LORA == 32 * 32 * (3 * 8192 + 2 * 15104)
    assert found.weights == 2 * 6_738_415_616
    assert found.adapter == 2 * NUM_LORA
    assert found.optimizer == 12 * NUM_LORA // 4
    assert found.gradients == 4 * NUM_LORA // 4 + 4 * 50_000_000
    assert found.logits == 32 * 512 * 32_000 * 12
    assert found.decoding == 32 * (512 + 2048) * 2 * 2 * 32 * 4096
    assert found.reserve == GIB
    resident = found.weights + found.adapter + found.optimizer + found.gradients + GIB
    assert found.training == resident + found.activations + found.logits
    assert found.evaluation == resident + found.decoding
    assert (found.peak, found.largest_part) == (found.evaluation, "decoding")


def test_checkpointing_keeps_each_layers_input_and_one_layer() -> None:
    plain = PAPER.model_copy(
        update={"training": PAPER.training.model_copy(update={"gradient_checkpointing": False})}
    )
    tokens = 32 * 512
    last_norm, layer_input = 4 * 4096, 2 * 4096
    layer = (memory(plain).activations // tokens - last_norm) // 32

    assert memory().activations == tokens * (32 * layer_input + layer + last_norm)


@pytest.mark.parametrize(
    ("stage", "weights", "optimizer", "gradients"),
    [(0, 1, 1, 1), (1, 1, 4, 1), (2, 1, 4, 4), (3, 4, 4, 4)],
)
def test_each_zero_stage_splits_one_thing_more(
    stage: int, weights: int, optimizer: int, gradients: int
) -> None:
    found = memory(zero_stage=stage)

    assert found.weights == 2 * 6_738_415_616 // weights
    # An adapter is whole on every worker, whose layers it is added to.
    assert found.adapter == 2 * NUM_LORA
    layer = 4 * 4096**2 + 3 * 4096 * 11008 + 2 * 4096
    assert found.gathered == (2 * 2 * layer if stage == 3 else 0)
    assert found.optimizer == 12 * NUM_LORA // optimizer
    assert found.gradients == 4 * NUM_LORA // gradients + 4 * 50_000_000


@pytest.mark.parametrize("stage", [2, 3])
def test_what_is_kept_in_the_cpus_memory_is_in_no_gpus(stage: int) -> None:
    zero = ZeroSpec(stage=stage, offload="cpu")
    training = PAPER.training.model_copy(update={"zero": zero})
    found = memory(PAPER.model_copy(update={"training": training}))

    base = 2 * 6_738_415_616
    assert (found.optimizer, found.gradients) == (0, 4 * 50_000_000)
    assert found.weights == (base if stage == 2 else 0)
    assert found.in_cpu == 16 * NUM_LORA // 4 + (0 if stage == 2 else base // 4)


def test_a_full_model_is_its_own_weights() -> None:
    full = PAPER.model_copy(update={"adapter": AdapterSpec(method="full")})
    found = memory(full)

    assert (found.weights, found.adapter) == (0, 2 * 6_738_415_616)
    assert found.optimizer == 12 * 6_738_415_616 // 4


def test_an_update_counts_where_it_takes_more_than_the_backward_pass() -> None:
    """Its temporary is a worker's part in fp32; activations and logits are gone by then."""
    full = PAPER.model_copy(update={"adapter": AdapterSpec(method="full")})
    one = full.training.model_copy(update={"micro_batch_size": 1, "max_sequence_tokens": 64})
    small = memory(full.model_copy(update={"training": one}))
    temporary = 4 * 6_738_415_616 // 4

    assert small.update == temporary - small.activations - small.logits > 0
    assert small.training == small.resident + temporary
    assert memory(full).update == 0, "its activations are more"
    assert memory().update == 0


def test_quantised_weights_by_hand() -> None:
    """A layer of 64 x 256 in 4 bits: 16384 / 2, 256 bytes and 4; in 8: a byte each and scales."""
    shapes = {
        "model.embed_tokens.weight": (100, 256),
        "model.layers.0.mlp.up_proj.weight": (64, 256),
        "model.norm.weight": (256,),
    }
    others = 2 * (100 * 256 + 256)

    assert weight_bytes(shapes, "bfloat16") == others + 2 * 64 * 256
    assert weight_bytes(shapes, "bfloat16", "4bit") == others + 8192 + 256 + 4
    assert weight_bytes(shapes, "bfloat16", "8bit") == others + 64 * 256 + 4 * 64


def test_a_decoding_batch_is_limited_by_context_and_tokens() -> None:
    def cache(**evaluation: int) -> int:
        spec = EvaluationSpec(**{"batch_size": 8, "max_new_tokens": 100, **evaluation})
        trial = PAPER.model_copy(update={"evaluation": spec})
        return kv_cache_bytes(LLAMA2, trial) // (2 * 2 * 32 * 4096)

    assert cache() == 8 * (512 + 100)
    assert cache(max_new_tokens=5000) == 8 * 4096
    assert cache(max_batch_tokens=1000) == 1000
    assert cache(max_batch_tokens=10) == 612, "one sequence is decoded in any case"


def test_fp32_logits_are_not_cast() -> None:
    spec = PAPER.model_copy(update={"model": ModelSpec()})

    assert logit_bytes(LLAMA2, spec) == 32 * 512 * 32_000 * 16


@pytest.mark.parametrize(
    ("method", "dtype"), [("lora", "bfloat16"), ("dora", "float32"), ("full", "bfloat16")]
)
def test_weights_and_adapter_are_those_of_the_real_model(method: str, dtype: str) -> None:
    spec = ModelSpec(dtype=dtype)
    base = load_base_model(spec)
    summary = inspect_model(resolve_model(spec))
    assert summary.dimensions is not None
    held = sum(p.numel() * p.element_size() for p in base.parameters())
    trial = TrialSpec(model=spec, adapter=AdapterSpec(method=method, rank=8))
    found = training_memory(summary.shapes, summary.dimensions, trial, num_workers=1, on_gpu=False)

    assert weight_bytes(summary.shapes, dtype) == held
    adapted = attach(base, trial.adapter, seed=1)
    trained = [p for p in adapted.model.parameters() if p.requires_grad]
    assert found.adapter == sum(p.numel() * p.element_size() for p in trained)
    master = [torch.nn.Parameter(p.detach().float()) for p in trained]
    optimizer = torch.optim.AdamW(master)
    for p in master:
        p.grad = torch.zeros_like(p)
    optimizer.step()
    moments = sum(
        value.numel() * value.element_size()
        for state in optimizer.state.values()
        for name, value in state.items()
        if name != "step"
    )
    assert found.optimizer == moments + sum(p.numel() * p.element_size() for p in master)
