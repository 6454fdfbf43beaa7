"""Continuations read beside each other are as likely as one by one, whatever the architecture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from droplora_sweep.evaluation import shared_prompts
from droplora_sweep.evaluation.encoding import Encoded
from droplora_sweep.evaluation.likelihood import continuation_likelihoods
from droplora_sweep.evaluation.shared_prompts import shared_prompt_likelihoods

if TYPE_CHECKING:
    from collections.abc import Sequence

NUM_WORDS = 97
SIZES = {
    "vocab_size": NUM_WORDS,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 128,
}
KINDS: dict[str, dict[str, Any]] = {
    "llama": {"num_key_value_heads": 2},
    "qwen3": {"num_key_value_heads": 2, "head_dim": 8},
    "gemma2": {"num_key_value_heads": 2, "head_dim": 8, "sliding_window": 64},
    "mistral": {"num_key_value_heads": 2, "sliding_window": 64},
    "phi3": {"num_key_value_heads": 2, "pad_token_id": 0},
    "gpt_neox": {},
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128},
    "opt": {"ffn_dim": 64, "word_embed_proj_dim": 32},
}
UNABLE: dict[str, dict[str, Any]] = {
    "a window": {"kind": "mistral", "num_key_value_heads": 2, "sliding_window": 5},
    "ALiBi": {"kind": "bloom"},
    "a state": {"kind": "mamba", "state_size": 4},
}
"""Models that attend otherwise, and so must be read one by one."""
LIMITS: dict[str, Any] = {
    "pad_id": 0,
    "batch_size": 6,
    "max_batch_tokens": None,
    "num_words": NUM_WORDS,
}


def built(kind: str, **sizes: Any) -> Any:
    torch.manual_seed(3)
    config = AutoConfig.for_model(kind, **{**SIZES, **sizes})
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            # So large that another's token in sight would show.
            parameter.mul_(4) if parameter.ndim > 1 else None
    return model


def sequences(seed: int = 0) -> list[Encoded]:
    """Prompts with one to five continuations of one to six tokens, in any order."""
    random = np.random.default_rng(seed)
    found = []
    for number in (4, 1, 5, 2, 3, 4):
        prompt = random.integers(1, NUM_WORDS, random.integers(1, 30))
        for _ in range(number):
            continuation = random.integers(1, NUM_WORDS, random.integers(1, 7))
            tokens = np.array([*prompt, *continuation], np.int32)
            found.append(Encoded(tokens, len(prompt)))
    return [found[index] for index in random.permutation(len(found))]


def agree(found: Sequence[tuple[float, bool]], expected: Sequence[tuple[float, bool]]) -> None:
    assert [one for one, _ in found] == pytest.approx([one for one, _ in expected], abs=1e-3)
    assert [greedy for _, greedy in found] == [greedy for _, greedy in expected]


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_they_are_as_likely_as_one_by_one(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, given = built(kind, **KINDS[kind]), sequences()
    expected = continuation_likelihoods(model, given, **LIMITS)
    left = []
    monkeypatch.setattr(
        shared_prompts,
        "continuation_likelihoods",
        lambda model, some, **limits: (
            left.append(len(some)) or continuation_likelihoods(model, some, **limits)
        ),
    )
    agree(shared_prompt_likelihoods(model, given, **LIMITS), expected)
    # The longest row, as a check, and the prompt that has one continuation.
    assert left == [max(left), 1]
    assert max(left) <= 5


@pytest.mark.parametrize("name", UNABLE)
@torch.no_grad()
def test_what_attends_otherwise_is_read_one_by_one(name: str) -> None:
    model, given = built(**UNABLE[name]), sequences()
    expected = continuation_likelihoods(model, given, **LIMITS)
    assert shared_prompt_likelihoods(model, given, **LIMITS) == expected


@pytest.mark.parametrize("limits", [{"batch_size": 2}, {"max_batch_tokens": 40}])
@torch.no_grad()
def test_batches_have_their_limits(limits: dict[str, int]) -> None:
    model, given = built("llama", **KINDS["llama"]), sequences()
    expected = continuation_likelihoods(model, given, **LIMITS)
    shapes = []
    model.register_forward_pre_hook(
        lambda _, __, options: shapes.append(options["input_ids"].shape), with_kwargs=True
    )
    agree(shared_prompt_likelihoods(model, given, **LIMITS | limits), expected)
    assert all(rows <= limits.get("batch_size", rows) for rows, _ in shapes)
    assert all(rows * num <= limits.get("max_batch_tokens", rows * num) for rows, num in shapes)


@torch.no_grad()
def test_the_last_token_beyond_the_context_is_only_predicted() -> None:
    model = built("llama", **KINDS["llama"])
    given = [Encoded(np.array([5] * 10 + end, np.int32), 10) for end in ([7, 8, 9], [7], [3, 1])]
    limits = {**LIMITS, "context": 12}
    expected = continuation_likelihoods(model, given, **limits)
    agree(shared_prompt_likelihoods(model, given, **limits), expected)


def test_low_precision_is_compared_by_its_own_measure() -> None:
    model = built("llama", **KINDS["llama"]).bfloat16()
    with torch.no_grad():
        found = shared_prompt_likelihoods(model, sequences(), **LIMITS)
        expected = continuation_likelihoods(model, sequences(), **LIMITS)
    for (one, _), (other, _) in zip(found, expected, strict=True):
        assert one == pytest.approx(other, rel=0.05, abs=0.05)
