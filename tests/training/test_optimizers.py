"""AdamW in 8 bits steps as bitsandbytes itself, and goes on from what was saved of it."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from droplora_sweep.adapters.attaching import attach
from droplora_sweep.spec.adapter import AdapterSpec
from droplora_sweep.spec.trial import TrainingSpec
from droplora_sweep.training.device import settle
from droplora_sweep.training.engine import Engine
from droplora_sweep.training.optimizers import make_optimizer, read_moments, write_moments
from tests.training.architectures import make

bitsandbytes = pytest.importorskip("bitsandbytes", reason="the extra `quantization` is missing")

TOKENS = torch.arange(12).reshape(1, 12)
RATES = (1e-2, 1e-2, 5e-3)
TRAINING: dict[str, Any] = {"weight_decay": 0.1, "max_grad_norm": 1e9, "micro_batch_size": 1}


def adapted() -> torch.nn.Module:
    """A model with more than 4096 trained numbers in its group."""
    settle(1)
    spec = AdapterSpec(rank=32, dropout=0.0, target_modules="all-linear")
    return attach(make("llama").requires_grad_(False), spec, 1).model


def engine_of(model: torch.nn.Module, optimizer: str = "adamw_8bit") -> Engine:
    return Engine(model, TrainingSpec(optimizer=optimizer, **TRAINING), torch.device("cpu"))


def train(engine: Engine, rates: tuple[float, ...] = RATES) -> None:
    for rate in rates:
        engine.backward(engine(input_ids=TOKENS, labels=TOKENS).loss)
        engine.step(rate)


def trained(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    named = model.named_parameters()
    return {name: weight.detach().clone() for name, weight in named if weight.requires_grad}


def test_steps_are_those_of_bitsandbytes() -> None:
    model = adapted()
    reference = copy.deepcopy(model)
    engine = engine_of(model)
    train(engine)
    engine.close()
    # Its blocks go across the weights of a group, as the engine lays them end to end.
    weights = [weight for weight in reference.parameters() if weight.requires_grad]
    flat = torch.nn.Parameter(torch.cat([weight.detach().flatten() for weight in weights]))
    assert flat.numel() > 4096
    optimizer = bitsandbytes.optim.AdamW8bit([flat], lr=1.0, weight_decay=0.1)
    for rate in RATES:
        parts = flat.detach().split([weight.numel() for weight in weights])
        for weight, part in zip(weights, parts, strict=True):
            weight.data.copy_(part.view_as(weight))
            weight.grad = None
        reference(input_ids=TOKENS, labels=TOKENS).loss.backward()
        flat.grad = torch.cat([weight.grad.flatten() for weight in weights])
        optimizer.param_groups[0]["lr"] = rate
        optimizer.step()
    assert optimizer.state[flat]["state1"].dtype == torch.uint8
    result = torch.cat([weight.flatten() for weight in trained(model).values()])
    torch.testing.assert_close(result, flat.detach(), rtol=1e-4, atol=1e-6)


def test_it_is_near_adamw_in_fp32() -> None:
    results = []
    for optimizer in ("adamw", "adamw_8bit"):
        model = adapted()
        before = trained(model)
        engine = engine_of(model, optimizer)
        train(engine)
        engine.close()
        results.append(
            torch.cat([(one - before[name]).flatten() for name, one in trained(model).items()])
        )
    full, in_8_bits = results
    assert 0 < (in_8_bits - full).norm() < 0.1 * full.norm()


def test_a_trial_goes_on_from_what_was_saved() -> None:
    whole = adapted()
    engine = engine_of(whole)
    train(engine)
    engine.close()
    first, second = adapted(), adapted()
    engine = engine_of(first)
    train(engine, RATES[:2])
    state = engine.state()
    engine.close()
    engine = engine_of(second)
    engine.load_state(state)
    train(engine, RATES[2:])
    engine.close()
    expected = trained(whole)
    for name, weight in trained(second).items():
        torch.testing.assert_close(weight, expected[name], rtol=1e-5, atol=1e-7)


def test_every_index_of_a_moment_comes_out_as_it_was() -> None:
    torch.manual_seed(0)
    weights = torch.nn.Parameter(torch.randn(5000))
    training = TrainingSpec(optimizer="adamw_8bit")
    optimizer = make_optimizer(training, [{"params": [weights], "weight_decay": 0.0}])
    for _ in range(3):
        weights.grad = torch.randn(5000) * torch.logspace(-6, 0, 5000)
        optimizer.step()
    before = copy.deepcopy(optimizer.state[weights])
    assert before["state1"].dtype == torch.uint8
    write_moments(optimizer, 0, before["step"], read_moments(before))
    after = optimizer.state[weights]
    for number in ("1", "2"):
        assert torch.equal(after[f"state{number}"], before[f"state{number}"])
        name = f"absmax{number}"
        torch.testing.assert_close(after[name], before[name], rtol=2e-7, atol=0)
    assert after["step"] == before["step"] == 3
