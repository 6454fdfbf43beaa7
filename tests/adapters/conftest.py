from __future__ import annotations

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM


def make_base() -> LlamaForCausalLM:
    """A frozen random Llama of two layers, always the same."""
    torch.manual_seed(7)
    config = LlamaConfig(
        vocab_size=96,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
    )
    return LlamaForCausalLM(config).eval().requires_grad_(False)


def make_tokens() -> torch.Tensor:
    return torch.randint(0, 96, (3, 11), generator=torch.Generator().manual_seed(3))


@pytest.fixture
def base() -> LlamaForCausalLM:
    return make_base()


@pytest.fixture
def tokens() -> torch.Tensor:
    return make_tokens()


@pytest.fixture(scope="module")
def module_base() -> LlamaForCausalLM:
    return make_base()


@pytest.fixture(scope="module")
def module_tokens() -> torch.Tensor:
    return make_tokens()
