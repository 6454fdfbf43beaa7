from __future__ import annotations

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM


@pytest.fixture
def base() -> LlamaForCausalLM:
    """A frozen random Llama of two layers, the same in every test."""
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


@pytest.fixture
def tokens() -> torch.Tensor:
    return torch.randint(0, 96, (3, 11), generator=torch.Generator().manual_seed(3))
