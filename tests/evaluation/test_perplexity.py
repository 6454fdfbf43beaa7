"""Perplexity of plain text against the definition, however it is split."""

from __future__ import annotations

import math

import pytest
import torch

from droplora_sweep.evaluation.perplexity import WINDOW_TOKENS, TextLoss, text_loss
from tests.training.byte_model import make_tokenizer

TEXT = "The old mill by the river had not turned for years. " * 25


@pytest.fixture(scope="module")
def model():
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(3)
    config = LlamaConfig(
        vocab_size=len(make_tokenizer()),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=WINDOW_TOKENS,
    )
    return LlamaForCausalLM(config).eval()


@pytest.fixture(scope="module")
def tokenizer():
    return make_tokenizer()


def test_it_is_the_exponential_of_the_mean_cross_entropy(model, tokenizer) -> None:
    tokens = tokenizer(TEXT)["input_ids"]
    assert len(tokens) > 2 * WINDOW_TOKENS
    total, number = 0.0, 0
    with torch.no_grad():
        for start in range(0, len(tokens), WINDOW_TOKENS):
            window = torch.tensor(tokens[start : start + WINDOW_TOKENS])
            log_probs = model(window[None]).logits[0].log_softmax(-1)
            total -= log_probs[:-1].gather(1, window[1:, None]).sum().item()
            number += len(window) - 1
    loss = text_loss(model, tokenizer, TEXT, batch_size=4)
    assert loss.num_tokens == number
    assert loss.perplexity == pytest.approx(math.exp(total / number), rel=1e-5)


@pytest.mark.parametrize(("batch_size", "world_size"), [(1, 1), (2, 2), (8, 5)])
def test_shares_add_up_whatever_the_split(model, tokenizer, batch_size, world_size) -> None:
    whole = text_loss(model, tokenizer, TEXT, batch_size=4)
    parts = [
        text_loss(model, tokenizer, TEXT, batch_size=batch_size, rank=rank, world_size=world_size)
        for rank in range(world_size)
    ]
    assert sum(part.num_tokens for part in parts) == whole.num_tokens
    assert sum(part.nats for part in parts) == pytest.approx(whole.nats, rel=1e-5)


def test_the_models_mode_is_left_as_it_was(model, tokenizer) -> None:
    model.train()
    text_loss(model, tokenizer, "some text", batch_size=1)
    assert model.training
    model.eval()


def test_a_text_needs_two_tokens(model, tokenizer) -> None:
    with pytest.raises(ValueError, match="must have at least two tokens, got 1"):
        text_loss(model, tokenizer, "a", batch_size=1)


def test_a_loss_too_large_for_a_float_is_infinite() -> None:
    assert TextLoss(1e6, 10).perplexity == math.inf
