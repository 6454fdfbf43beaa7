"""Attaching and detaching on a resident base model, and equality with PEFT's LoRA at p = 0."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch
from peft import LoraConfig, get_peft_model

from droplora_sweep.adapters.attaching import attach
from droplora_sweep.adapters.droplora.layers import set_step
from droplora_sweep.errors import InputError
from droplora_sweep.spec import methods
from droplora_sweep.spec.adapter import AdapterSpec

METHODS = [name for name, method in methods.METHODS.items() if method.canonical_name == name]
TARGETS = ("q_proj", "v_proj", "up_proj", "down_proj")


def spec(**changes) -> AdapterSpec:
    return AdapterSpec(**{"rank": 4, "alpha": 8, "target_modules": TARGETS, **changes})


def train(model, tokens: torch.Tensor, num_steps: int) -> list[torch.Tensor]:
    """A few AdamW steps; every loss, gradient and value on the way."""
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    torch.manual_seed(0)
    model.train()
    seen = []
    for step in range(num_steps):
        set_step(model, step)
        loss = model(input_ids=tokens, labels=tokens).loss
        loss.backward()
        seen += [loss.detach(), *(p.grad.clone() for p in model.parameters() if p.requires_grad)]
        optimizer.step()
        optimizer.zero_grad()
    seen += [p.detach().clone() for p in model.parameters() if p.requires_grad]
    return [*seen, torch.get_rng_state()]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("method", ["droplora", "lora"])
def test_without_pruning_it_is_pefts_lora_bit_for_bit(base, tokens, dtype, method) -> None:
    """Initialisation, losses, gradients, ten AdamW steps, and the RNG's state after them."""
    base.to(dtype)
    adapted = attach(base, spec(method=method, dropout=0.1), seed=5)
    ours = train(adapted.model, tokens, 10)
    adapted.detach()

    torch.manual_seed(5)
    config = LoraConfig(
        r=4, lora_alpha=8, lora_dropout=0.1, target_modules=list(TARGETS), task_type="CAUSAL_LM"
    )
    theirs = train(get_peft_model(base, config, autocast_adapter_dtype=False), tokens, 10)
    assert len(ours) == len(theirs)
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def snapshot(model) -> dict[str, object]:
    """Everything of a model that an adapter could change: tensors, modules, hooks, attributes."""
    return {
        name: (
            module,
            module.training,
            sorted(vars(module)),
            [len(hooks) for key, hooks in vars(module).items() if key.endswith("_hooks")],
            {key: (id(p), p.requires_grad) for key, p in module.named_parameters(recurse=False)},
            {key: (id(b), b.dtype) for key, b in module.named_buffers(recurse=False)},
        )
        for name, module in model.named_modules()
    }


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_detach_leaves_the_base_as_it_was(base, tokens, method, dtype) -> None:
    base.to(dtype)
    before = snapshot(base)
    values = {name: tensor.clone() for name, tensor in base.state_dict().items()}
    logits = base(tokens).logits
    for _ in range(2):
        adapted = attach(base, spec(method=method), seed=5)
        train(adapted.model, tokens, 2)
        adapted.model.generate(input_ids=tokens, max_new_tokens=2, do_sample=False)
        assert adapted.detach() is base
    assert snapshot(base) == before
    assert all(torch.equal(values[name], tensor) for name, tensor in base.state_dict().items())
    assert torch.equal(base(tokens).logits, logits)


def test_detach_keeps_no_reference_to_the_adapter(base, tokens) -> None:
    adapted = attach(base, spec(pruning_rate=0.5, mask="step"), seed=5)
    train(adapted.model, tokens, 1)
    weights = [weakref.ref(p) for p in adapted.model.parameters() if p.requires_grad]
    assert len(weights) == 16
    adapted.detach()
    del adapted
    gc.collect()
    assert not any(weight() is not None for weight in weights)


def test_the_start_depends_on_spec_and_seed_alone(base) -> None:
    def start(seed: int, **changes) -> list[torch.Tensor]:
        adapted = attach(base, spec(**changes), seed=seed)
        values = [p.detach().clone() for p in adapted.model.parameters() if p.requires_grad]
        adapted.detach()
        return values

    state = torch.get_rng_state()
    first = start(1, pruning_rate=0.3)
    assert torch.equal(state, torch.get_rng_state())
    torch.manual_seed(1234)
    for same in (start(1, pruning_rate=0.3), start(1, method="lora"), start(1, mask="step")):
        assert all(torch.equal(a, b) for a, b in zip(first, same, strict=True))
    assert not torch.equal(first[0], start(2, pruning_rate=0.3)[0])


def test_step_masks_are_named_by_layer(base, tokens) -> None:
    adapted = attach(base, spec(pruning_rate=0.5, mask="step"), seed=5)
    variants = [
        m.lora_variant["default"] for m in adapted.model.modules() if hasattr(m, "lora_variant")
    ]
    names = [variant.layer_name for variant in variants]
    assert names[0] == "model.layers.0.self_attn.q_proj"
    assert len(set(names)) == 8


def test_targets_that_match_nothing_are_refused_in_one_line(base) -> None:
    with pytest.raises(
        InputError, match=r"^adapter.target_modules: must match layers .*'qproj'"
    ) as e:
        attach(base, spec(target_modules=("qproj",)), seed=1)
    assert "\n" not in str(e.value)
    assert not hasattr(base, "peft_config")


def test_a_layer_that_cannot_be_pruned_is_refused(base, tokens) -> None:
    targets = ("embed_tokens", "q_proj")
    with pytest.raises(InputError, match=r"must match linear layers .*embed_tokens"):
        attach(base, spec(target_modules=targets, pruning_rate=0.2), seed=1)
    assert base(tokens).logits.shape == (3, 11, 96)
    assert attach(base, spec(target_modules=targets), seed=1) is not None
