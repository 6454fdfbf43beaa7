"""A few optimiser steps of a trial's adapter on random tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from droplora_sweep.adapters.attaching import attach
from droplora_sweep.adapters.methods.lora_drop import LoraDrop
from droplora_sweep.spec.adapter import AdapterSpec
from droplora_sweep.spec.trial import TrialSpec

if TYPE_CHECKING:
    from droplora_sweep.adapters.adapted import Adapted

NUM_STEPS = 4


def trial(**adapter) -> TrialSpec:
    return TrialSpec(adapter=AdapterSpec(**{"rank": 4, "alpha": 8, **adapter}), seed=9)


def trained(base, tokens: torch.Tensor, spec: TrialSpec) -> Adapted:
    """Attached, trained with a large learning rate, and in evaluation mode."""
    adapted = attach(base, spec.adapter, spec.seed)
    torch.manual_seed(0)
    optimizer = _optimizer(adapted)
    for step in range(NUM_STEPS):
        if isinstance(adapted, LoraDrop) and step == adapted.num_sampling_steps(NUM_STEPS):
            adapted.model.eval()
            with torch.no_grad(), adapted.measured() as meter:
                meter.counted_BT = torch.ones_like(tokens, dtype=torch.bool)
                adapted.model(tokens)
            adapted.drop_layers(meter.sum_L2)
            optimizer = _optimizer(adapted)
        adapted.model.train()
        adapted.set_step(step, NUM_STEPS)
        adapted.model(input_ids=tokens, labels=tokens).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    adapted.model.eval()
    return adapted


def _optimizer(adapted: Adapted) -> torch.optim.Optimizer:
    is_full = adapted.num_trainable > 10_000
    trainable = [p for p in adapted.model.parameters() if p.requires_grad]
    return torch.optim.AdamW(trainable, lr=0.005 if is_full else 0.05)
