"""LoRA+: the learning rates of A and B are those of PEFT's own optimiser, and steps too."""

from __future__ import annotations

import copy

import pytest
import torch
from peft.optimizers import create_loraplus_optimizer

from droplora_sweep.adapters.attaching import attach
from droplora_sweep.spec.adapter import AdapterSpec
from droplora_sweep.spec.trial import TrainingSpec
from droplora_sweep.training.device import settle
from droplora_sweep.training.engine import RATIO, Engine, parameter_groups
from tests.training.architectures import make

TARGETS = ("q_proj", "v_proj", "down_proj")
RATE, RATIO_OF_B = 1e-2, 16.0


def adapted(**fields: object) -> torch.nn.Module:
    spec = AdapterSpec(rank=2, dropout=0.0, target_modules=TARGETS, **fields)
    base = make("llama").requires_grad_(False)
    return attach(base, spec, 1).model


def rates_here(model: torch.nn.Module, ratio: float) -> dict[str, float]:
    groups = parameter_groups(model, 0.1, ratio)
    return {name: RATE * group[RATIO] for group in groups for name in group["names"]}


def rates_of_peft(model: torch.nn.Module, ratio: float) -> dict[str, float]:
    optimizer = create_loraplus_optimizer(
        model, torch.optim.AdamW, lr=RATE, loraplus_lr_ratio=ratio
    )
    names = {id(weight): name for name, weight in model.named_parameters()}
    return {
        names[id(weight)]: group["lr"]
        for group in optimizer.param_groups
        for weight in group["params"]
    }


@pytest.mark.parametrize("method", ["lora", "dora", "rslora", "pissa"])
def test_learning_rates_are_those_of_peft(method: str) -> None:
    model = adapted(method=method)
    rates = rates_here(model, RATIO_OF_B)
    assert rates == rates_of_peft(model, RATIO_OF_B)
    assert set(rates.values()) == {RATE, RATE * RATIO_OF_B}


def test_a_gate_learns_as_fast_as_a() -> None:
    rates = rates_here(adapted(mask="learned", pruning_rate=0.5), RATIO_OF_B)
    gates = {rate for name, rate in rates.items() if ".lora_gate." in name}
    assert gates == {RATE}


def test_without_a_ratio_the_groups_are_what_they_were() -> None:
    [group] = parameter_groups(adapted(), 0.1)
    assert (group["weight_decay"], group[RATIO]) == (0.1, 1.0)


def test_steps_are_those_of_pefts_optimizer() -> None:
    settle(1)
    model = adapted()
    reference = copy.deepcopy(model)
    training = TrainingSpec(
        weight_decay=0.1, max_grad_norm=1e9, micro_batch_size=1, lora_plus_ratio=RATIO_OF_B
    )
    engine = Engine(model, training, torch.device("cpu"))
    optimizer = create_loraplus_optimizer(
        reference,
        torch.optim.AdamW,
        lr=RATE,
        loraplus_lr_ratio=RATIO_OF_B,
        loraplus_weight_decay=0.1,
    )
    tokens = torch.arange(12).reshape(1, 12)
    for share in (1.0, 0.5, 0.25):
        engine.backward(engine(input_ids=tokens, labels=tokens).loss)
        engine.step(RATE * share)
        reference(input_ids=tokens, labels=tokens).loss.backward()
        for group, peak in zip(optimizer.param_groups, (1, 1, RATIO_OF_B, RATIO_OF_B), strict=True):
            group["lr"] = RATE * peak * share
        optimizer.step()
        optimizer.zero_grad()
    engine.close()
    expected = dict(reference.named_parameters())
    for name, weight in model.named_parameters():
        torch.testing.assert_close(weight, expected[name], rtol=1e-5, atol=1e-7)
