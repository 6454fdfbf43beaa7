"""Cost of each method and mask against PEFT's LoRA of the same rank, on the same model.

``make bench`` prints the table. Ratios are medians over interleaved rounds of one run, with
quartiles; on a busy machine the quartiles are wide, and the bars say so by failing.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

from droplora_sweep.adapters.attaching import attach
from droplora_sweep.adapters.droplora.layers import DropLoraConfig, set_step
from droplora_sweep.spec.adapter import AdapterSpec
from tests.benchmarks.timing import activation_bytes, interleaved_seconds, ratio

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.benchmark

RANK, ROUNDS = 64, 11
ADAPTERS = {
    "lora, p = 0": {},
    "token": {"pruning_rate": 0.5},
    "sample": {"pruning_rate": 0.5, "mask": "sample"},
    "step": {"pruning_rate": 0.5, "mask": "step"},
    "learned": {"pruning_rate": 0.5, "mask": "learned"},
    "rslora, token": {"method": "rslora", "pruning_rate": 0.5},
    "dora": {"method": "dora"},
    "dora, token": {"method": "dora", "pruning_rate": 0.5},
    "pissa": {"method": "pissa"},
    "milora": {"method": "milora"},
    "full": {"method": "full"},
}
# DoRA forms W + B A for its norm at every step; its cost is its own, not the mask's.
BARS = {"lora, p = 0": 1.05, "token": 1.05, "sample": 1.05, "step": 1.0}


def make_base() -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=2048,
        hidden_size=384,
        intermediate_size=1024,
        num_hidden_layers=3,
        num_attention_heads=6,
        max_position_embeddings=256,
    )
    return LlamaForCausalLM(config).eval().requires_grad_(False)


def peft_lora(spec: AdapterSpec) -> nn.Module:
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=spec.rank,
        lora_alpha=int(spec.alpha),
        lora_dropout=spec.dropout,
        target_modules=list(spec.target_modules),
    )
    return get_peft_model(make_base(), config)


def training_step(model: nn.Module, tokens: torch.Tensor) -> tuple[Callable, Callable]:
    """One optimiser step, and its forward pass alone."""
    trainable = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trainable, lr=1e-5)
    model.train()
    steps = iter(range(10**9))

    def forward() -> torch.Tensor:
        return model(input_ids=tokens, labels=tokens).loss

    def run() -> None:
        set_step(model, next(steps))
        forward().backward()
        optimizer.step()
        optimizer.zero_grad()

    return run, forward


def say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def test_step_time_and_memory_against_pefts_lora() -> None:
    tokens = torch.randint(0, 2048, (16, 128))
    plain = AdapterSpec(rank=RANK, alpha=2 * RANK, dropout=0.0)
    models = {"PEFT LoRA": peft_lora(plain)}
    for name, adapter in ADAPTERS.items():
        spec = plain.model_copy(update=adapter)
        models[name] = attach(make_base(), spec, seed=1).model
    calls = {name: training_step(model, tokens) for name, model in models.items()}
    memory = {name: activation_bytes(models[name], calls[name][1]) for name in models}
    seconds = interleaved_seconds({name: run for name, (run, _) in calls.items()}, rounds=ROUNDS)

    say(f"\n{'':16}{'step time':>11} {'quartiles':>15} {'activations':>12}   (PEFT LoRA = 1)")
    ratios = {}
    for name in ADAPTERS:
        middle, low, high = ratio(seconds[name], seconds["PEFT LoRA"])
        ratios[name] = middle
        share = memory[name] / memory["PEFT LoRA"]
        say(f"{name:16}{middle:11.3f} {f'{low:.3f} to {high:.3f}':>15} {share:12.3f}")
    assert memory["step"] < memory["PEFT LoRA"]
    assert memory["token"] <= 1.05 * memory["PEFT LoRA"]
    for name, bar in BARS.items():
        assert ratios[name] <= bar, f"{name}: {ratios[name]:.3f} of PEFT's LoRA, bar {bar}"


def test_the_adapters_own_share_of_a_layer() -> None:
    """Forward and backward of one layer, less those of the frozen layer alone."""
    torch.manual_seed(0)
    num_features, rank = 512, 128
    x = torch.randn(8, 512, num_features, requires_grad=True)
    gradient = torch.randn(8, 512, num_features)

    def layer(config: LoraConfig | None) -> nn.Module:
        base = nn.Sequential(nn.Linear(num_features, num_features, bias=False))
        base.requires_grad_(False)
        return (base if config is None else get_peft_model(base, config)).train()

    shared = {"r": rank, "lora_alpha": 2 * rank, "target_modules": ["0"]}
    layers = {
        "frozen": layer(None),
        "PEFT LoRA": layer(LoraConfig(**shared)),
        **{
            mask: layer(DropLoraConfig(**shared, pruning_rate=0.5, mask=mask))
            for mask in ("token", "sample", "step", "learned")
        },
    }
    micro_batches = 2

    def call(model: nn.Module) -> Callable[[], None]:
        steps = iter(range(10**9))

        def run() -> None:
            set_step(model, next(steps))
            for _ in range(micro_batches):
                model(x).backward(gradient)
            model.zero_grad()
            x.grad = None

        return run

    memory = {name: activation_bytes(m, lambda m=m: m(x)) for name, m in layers.items()}
    calls = {name: call(m) for name, m in layers.items()}
    seconds = interleaved_seconds(calls, rounds=4 * ROUNDS)
    own = {
        name: [a - b for a, b in zip(seconds[name], seconds["frozen"], strict=True)]
        for name in layers
        if name != "frozen"
    }
    say(f"\n{'':16}{'own share':>11} {'quartiles':>15} {'activations':>12}   (PEFT LoRA = 1)")
    ratios = {}
    for name in own:
        middle, low, high = ratio(own[name], own["PEFT LoRA"])
        ratios[name] = middle
        share = (memory[name] - memory["frozen"]) / (memory["PEFT LoRA"] - memory["frozen"])
        say(f"{name:16}{middle:11.3f} {f'{low:.3f} to {high:.3f}':>15} {share:12.3f}")
        if name == "step":
            assert share < 1.0
    assert ratios["step"] < 1.0
