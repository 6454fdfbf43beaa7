"""Activations are counted within 5 % of what autograd keeps, over methods, masks and precisions."""

from __future__ import annotations

import itertools

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from droplora_sweep.adapters.attaching import attach
from droplora_sweep.models.inspecting import read_dimensions
from droplora_sweep.plan.costs.activations import kept_per_token
from droplora_sweep.spec import AdapterSpec
from droplora_sweep.training.loop import response_loss
from tests.plan.costs.autograd import kept_bytes

FACTOR = 1.05
NUM_SEQUENCES, NUM_TOKENS, NUM_KEPT = 4, 64, 32
SHAPES = {
    # The built-in model's.
    "built in": {
        "vocab_size": 1280,
        "hidden_size": 128,
        "intermediate_size": 384,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "tie_word_embeddings": True,
    },
    "grouped queries": {
        "vocab_size": 2048,
        "hidden_size": 192,
        "intermediate_size": 512,
        "num_hidden_layers": 6,
        "num_attention_heads": 6,
        "num_key_value_heads": 2,
    },
}
ALL_LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
ADAPTERS = {
    "lora": {},
    "dropout": {"dropout": 0.05},
    "token": {"pruning_rate": 0.5},
    "step": {"pruning_rate": 0.5, "mask": "step"},
    "learned": {"pruning_rate": 0.5, "mask": "learned"},
    "dora": {"method": "dora"},
    "dora, token, dropout": {"method": "dora", "pruning_rate": 0.5, "dropout": 0.1},
    "q and v": {"target_modules": ("q_proj", "v_proj")},
    "all linear": {"target_modules": ALL_LINEAR},
    "last layers": {"target_modules": "all-linear", "layers": "1"},
    "other ranks": {"module_ranks": {"q_proj": 4, "layers.1.mlp.up_proj": 32}},
    "full": {"method": "full"},
}
BYTES = {torch.float32: 4, torch.bfloat16: 2}


QUICK = (
    ("built in", "token", torch.float32),
    ("grouped queries", "dropout", torch.bfloat16),
    ("grouped queries", "dora", torch.float32),
    ("built in", "full", torch.bfloat16),
    ("built in", "last layers", torch.float32),
)
SLOW = tuple(case for case in itertools.product(SHAPES, ADAPTERS, BYTES) if case not in QUICK)


@pytest.mark.parametrize(
    ("shape", "adapter", "dtype"),
    [*QUICK, *(pytest.param(*case, marks=pytest.mark.slow) for case in SLOW)],
)
def test_what_autograd_keeps_is_counted(shape: str, adapter: str, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    config = LlamaConfig(**SHAPES[shape])
    base = LlamaForCausalLM(config).to(dtype).eval().requires_grad_(False)
    spec = AdapterSpec.model_validate(
        {"rank": 16, "alpha": 32, "dropout": 0.0, **ADAPTERS[adapter]}
    )
    adapted = attach(base, spec, seed=1)
    adapted.model.train()
    adapted.set_step(1, 10)
    tokens = torch.randint(0, config.vocab_size, (NUM_SEQUENCES, NUM_TOKENS))
    positions = torch.arange(NUM_TOKENS - NUM_KEPT, NUM_TOKENS)

    def forward() -> torch.Tensor:
        output = adapted.model(input_ids=tokens, logits_to_keep=positions, use_cache=False)
        return response_loss(output.logits, tokens[:, positions])

    dimensions = read_dimensions(config.to_dict())
    assert dimensions is not None
    kept = kept_per_token(dimensions, spec, BYTES[dtype], on_gpu=False)
    log_probabilities = NUM_SEQUENCES * NUM_KEPT * config.vocab_size * 4
    per_token = kept.all_layers + kept.last_norm
    counted = NUM_SEQUENCES * NUM_TOKENS * per_token + log_probabilities

    ratio = counted / kept_bytes(adapted.model, forward)
    assert 1 / FACTOR < ratio < FACTOR


def test_a_layer_of_llama_2_by_hand() -> None:
    """bf16, b = 2: H = Q = kv = 4096, F = 11008, 32 heads, rank 32, q k v up down."""
    from droplora_sweep.models.inspecting import published_models

    dimensions = published_models()["meta-llama/Llama-2-7b-hf"].dimensions
    norms = 2 * 4 * 4096
    attention = 2 * 2 * (4096 + 4096) + 4 * 32
    mlp = 3 * 2 * 11008
    inputs = 2 * 4096 + 2 * 4096 + 2 * 11008
    hidden = 5 * 2 * 32

    kept = kept_per_token(dimensions, AdapterSpec(rank=32, dropout=0.0), 2)
    assert kept.per_layer == norms + attention + mlp + inputs + hidden
    assert (kept.layer_input, kept.last_norm) == (2 * 4096, 4 * 4096)

    dropped = kept_per_token(dimensions, AdapterSpec(rank=32, dropout=0.05), 2)
    own_inputs = (2 + 1) * (4 * 4096 + 11008)
    assert dropped.per_layer == norms + attention + mlp + own_inputs + hidden
