"""Tiny models of current architectures; transformers makes them, so that names are its own."""

from __future__ import annotations

import torch
from transformers import (
    AutoModelForCausalLM,
    FalconConfig,
    Gemma3TextConfig,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    MistralConfig,
    MixtralConfig,
    Olmo2Config,
    OPTConfig,
    Phi3Config,
    PhiConfig,
    PreTrainedConfig,
    PreTrainedModel,
    Qwen2Config,
    Qwen3Config,
    Qwen3MoeConfig,
)

LLAMA_LIKE = {
    "vocab_size": 300,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "pad_token_id": 0,
    "bos_token_id": 0,
    "eos_token_id": 1,
}
GPT_LIKE = {name: size for name, size in LLAMA_LIKE.items() if name != "num_key_value_heads"}

CONFIGS: dict[str, tuple[PreTrainedConfig, tuple[str, ...]]] = {
    "llama": (LlamaConfig(**LLAMA_LIKE), ("q_proj", "down_proj")),
    "llama_tied": (LlamaConfig(**LLAMA_LIKE, tie_word_embeddings=True), ("v_proj", "lm_head")),
    "mistral": (MistralConfig(**LLAMA_LIKE), ("q_proj", "o_proj")),
    "qwen2": (Qwen2Config(**LLAMA_LIKE), ("q_proj", "up_proj")),
    "qwen3": (Qwen3Config(**LLAMA_LIKE, head_dim=8), ("q_proj", "up_proj")),
    "gemma3": (Gemma3TextConfig(**LLAMA_LIKE, head_dim=8), ("k_proj", "gate_proj")),
    "phi3": (Phi3Config(**LLAMA_LIKE), ("qkv_proj", "gate_up_proj")),
    "phi": (PhiConfig(**LLAMA_LIKE), ("dense", "fc1")),
    "gpt2": (
        GPT2Config(
            vocab_size=300,
            n_embd=32,
            n_layer=2,
            n_head=4,
            n_positions=512,
            bos_token_id=0,
            eos_token_id=1,
        ),
        ("c_attn", "c_proj"),
    ),
    "gpt_neox": (GPTNeoXConfig(**GPT_LIKE), ("query_key_value",)),
    "opt": (
        OPTConfig(
            **{name: size for name, size in GPT_LIKE.items() if name != "intermediate_size"},
            ffn_dim=48,
            word_embed_proj_dim=32,
        ),
        ("q_proj", "fc1"),
    ),
    "olmo2": (Olmo2Config(**LLAMA_LIKE), ("q_proj", "down_proj")),
    "falcon": (FalconConfig(**GPT_LIKE), ("query_key_value", "dense_h_to_4h")),
    "mixtral": (
        MixtralConfig(**LLAMA_LIKE, num_local_experts=4, num_experts_per_tok=2),
        ("q_proj", "v_proj"),
    ),
    "qwen3_moe": (
        Qwen3MoeConfig(
            **LLAMA_LIKE,
            head_dim=8,
            num_experts=4,
            num_experts_per_tok=2,
            moe_intermediate_size=16,
            decoder_sparse_step=1,
        ),
        ("q_proj", "v_proj"),
    ),
}
"""By name, each with targets that are linear layers of it."""


def make(name: str, device: str = "cpu") -> PreTrainedModel:
    """A random model, always the same; on ``meta`` one without numbers."""
    torch.manual_seed(7)
    with torch.device(device):
        return AutoModelForCausalLM.from_config(CONFIGS[name][0])
