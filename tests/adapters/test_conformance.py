"""PEFT's behaviours of a model with adapters, for every method and mask as for PEFT's LoRA.

A method joins with a row in ``METHODS``, and one in ``CONFIGS`` unless it is there already;
`test_every_method_is_here` fails without it.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora.layer import LoraLayer
from peft.utils.hotswap import hotswap_adapter
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel

from droplora_sweep.adapters.droplora.layers import DropLoraConfig, fold_gates, set_step
from droplora_sweep.spec import methods
from tests.adapters.conftest import make_base

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.filterwarnings("ignore:Already found a `peft_config` attribute"),
    pytest.mark.filterwarnings("ignore:Adapter .* was active which is now deleted"),
    pytest.mark.filterwarnings("ignore:.*fan_in_fan_out"),
]

TARGETS = {"llama": ["q_proj", "down_proj"], "gpt2": ["c_attn", "c_proj"]}
WEIGHTS = (0.7, 0.3)
PRUNED = {"pruning_rate": 0.5, "mask_seed": 3}

# What a trial's adapter is within PEFT; PiSSA and MiLoRA differ in their first values alone.
CONFIGS = {
    "peft_lora": {},
    "lora": {"pruning_rate": 0.0},
    "token": PRUNED,
    "sample": {**PRUNED, "mask": "sample"},
    "step": {**PRUNED, "mask": "step"},
    "learned": {**PRUNED, "mask": "learned"},
    "unscaled": {**PRUNED, "rescale": False},
    "per_module": {"module_pruning_rates": {"q_proj": 0.5, "c_attn": 0.5}},
    "dora": {**PRUNED, "use_dora": True},
    "dora_learned": {**PRUNED, "use_dora": True, "mask": "learned"},
    "rslora": {**PRUNED, "use_rslora": True},
    "pissa": {**PRUNED, "init_lora_weights": "pissa"},
}
METHODS = {
    "lora": "lora",
    "droplora": "token",
    "dora": "dora",
    "rslora": "rslora",
    "pissa": "pissa",
    "milora": "pissa",
    "lora_drop": "token",
    "full": None,
}


DRAWN = ("token", "sample", "unscaled", "per_module", "dora", "rslora", "pissa")
"""Masks that come from torch's generator."""


def test_every_method_is_here() -> None:
    assert set(METHODS) == set(methods.METHODS)
    assert set(METHODS.values()) - {None} <= set(CONFIGS)


def config(name: str, architecture: str = "llama", **others) -> LoraConfig:
    fields = {
        "r": 4,
        "lora_alpha": 8,
        "target_modules": TARGETS[architecture],
        "task_type": "CAUSAL_LM",
        "fan_in_fan_out": architecture == "gpt2",
        **CONFIGS[name],
        **others,
    }
    return LoraConfig(**fields) if name == "peft_lora" else DropLoraConfig(**fields)


def base_model(architecture: str = "llama") -> nn.Module:
    if architecture == "llama":
        return make_base()
    torch.manual_seed(7)
    small = GPT2Config(vocab_size=96, n_positions=64, n_embd=32, n_layer=2, n_head=4)
    return GPT2LMHeadModel(small).eval().requires_grad_(False)


def randomise(model: PeftModel, adapter: str, seed: int = 1) -> None:
    """Weights as after training: no part of the update is zero."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        if f".{adapter}" in name and "lora_" in name and "magnitude" not in name:
            parameter.data.normal_(std=0.2, generator=generator)


def adapted(name: str, architecture: str = "llama", **others) -> PeftModel:
    torch.manual_seed(0)
    model = get_peft_model(base_model(architecture), config(name, architecture, **others))
    randomise(model, "default")
    return model.eval()


@torch.no_grad()
def logits(model: nn.Module, tokens: torch.Tensor) -> torch.Tensor:
    return model(input_ids=tokens).logits


each = pytest.mark.parametrize("name", CONFIGS)
both = pytest.mark.parametrize("architecture", ["llama", "gpt2"])


@each
@both
def test_disabling_shows_the_base_model(name, architecture, tokens) -> None:
    plain = logits(base_model(architecture), tokens)
    model = adapted(name, architecture)
    with model.disable_adapter():
        disabled = logits(model, tokens)
    if name == "pissa":
        # As in PEFT: its base model holds the residual while the adapter is on.
        assert not torch.allclose(disabled, plain, atol=1e-3)
    else:
        torch.testing.assert_close(disabled, plain, rtol=0, atol=0)
    assert (logits(model, tokens) - plain).abs().max() > 1e-2


@each
@both
def test_merging_and_unloading_keeps_what_is_computed(name, architecture, tokens) -> None:
    model = adapted(name, architecture)
    expected = logits(model, tokens)
    merged = copy.deepcopy(model).merge_and_unload(safe_merge=True)
    assert not any("lora" in key for key, _ in merged.named_parameters())
    torch.testing.assert_close(logits(merged, tokens), expected, rtol=1e-4, atol=1e-5)
    model.merge_adapter()
    torch.testing.assert_close(logits(model, tokens), expected, rtol=1e-4, atol=1e-5)
    model.unmerge_adapter()
    torch.testing.assert_close(logits(model, tokens), expected, rtol=1e-4, atol=1e-5)


@each
def test_unloading_gives_the_base_model_back(name, tokens) -> None:
    unloaded = adapted(name).unload()
    if name != "pissa":
        assert torch.equal(logits(unloaded, tokens), logits(base_model(), tokens))
    assert not any("lora" in key for key, _ in unloaded.named_parameters())


@each
@both
def test_saving_and_loading_in_plain_peft(name, architecture, tokens, tmp_path: Path) -> None:
    model = adapted(name, architecture)
    expected = logits(model, tokens)
    model.save_pretrained(tmp_path)
    loaded = PeftModel.from_pretrained(base_model(architecture), tmp_path).eval()
    assert type(loaded.peft_config["default"]) is LoraConfig
    torch.testing.assert_close(logits(loaded, tokens), expected, rtol=0, atol=1e-5)


@each
def test_loading_with_low_cpu_memory_usage(name, tokens, tmp_path: Path) -> None:
    if name == "pissa":
        pytest.skip("PEFT cannot decompose weights on the meta device")
    model = adapted(name)
    model.save_pretrained(tmp_path)
    loaded = PeftModel.from_pretrained(base_model(), tmp_path, low_cpu_mem_usage=True).eval()
    assert not any(p.is_meta for p in loaded.parameters())
    torch.testing.assert_close(logits(loaded, tokens), logits(model, tokens), rtol=0, atol=1e-5)


@each
def test_two_adapters_are_switched_and_deleted(name, tokens) -> None:
    if name == "pissa":
        pytest.skip("two PiSSA adapters would each take their part out of one base model")
    model = adapted(name)
    first = logits(model, tokens)
    model.add_adapter("second", config(name, r=2, lora_alpha=2))
    randomise(model, "second", seed=2)
    assert torch.equal(logits(model, tokens), first)
    model.set_adapter("second")
    second = logits(model, tokens)
    assert not torch.allclose(first, second, atol=1e-3)
    trained = {key for key, p in model.named_parameters() if p.requires_grad}
    assert trained
    assert all(".second" in key for key in trained)
    model.set_adapter("default")
    assert torch.equal(logits(model, tokens), first)
    model.set_adapter("second")
    model.delete_adapter("default")
    assert not any(".default" in key for key, _ in model.named_parameters())
    assert torch.equal(logits(model, tokens), second)


@each
def test_an_adapter_that_is_trained_leaves_the_other_alone(name, tokens) -> None:
    if name == "pissa":
        pytest.skip("two PiSSA adapters would each take their part out of one base model")
    model = adapted(name)
    model.add_adapter("second", config(name))
    randomise(model, "second", seed=2)
    model.set_adapter("second")
    before = {key: p.detach().clone() for key, p in model.named_parameters()}
    model.train()
    set_step(model, 0)
    model(input_ids=tokens, labels=tokens).loss.backward()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.1)
    optimizer.step()
    changed = {key for key, p in model.named_parameters() if not torch.equal(p, before[key])}
    assert changed
    assert all(".second" in key for key in changed)


@each
@pytest.mark.parametrize("combination", ["linear", "cat", "svd"])
def test_add_weighted_adapter(name, combination, tokens) -> None:
    """The combined adapter's update is the weighted sum of the two (for ``linear`` as PEFT's)."""
    if name == "pissa" or "dora" in name:
        pytest.skip("PEFT's LoRA does not combine these either")
    model = adapted(name)
    model.add_adapter("second", config(name))
    randomise(model, "second", seed=2)
    if "learned" in name and combination != "svd":
        # PEFT reads A and B past the gates; `svd` reads the update.
        fold_gates(model, "default")
        fold_gates(model, "second")
    model.add_weighted_adapter(
        ["default", "second"],
        list(WEIGHTS),
        "both",
        combination_type=combination,
        svd_rank=32 if combination == "svd" else None,
    )
    for layer in (m for m in model.modules() if isinstance(m, LoraLayer)):
        A, B = (
            {adapter: factor.weight for adapter, factor in factors.items()}
            for factors in (layer.lora_A, layer.lora_B)
        )
        if combination == "linear":
            # As PEFT's: A and B are mixed on their own.
            a, b = ((weight * layer.scaling["default"]) ** 0.5 for weight in WEIGHTS)
            expected = (a * B["default"] + b * B["second"]) @ (a * A["default"] + b * A["second"])
        else:
            updates = [layer.get_delta_weight(one) for one in ("default", "second")]
            expected = WEIGHTS[0] * updates[0] + WEIGHTS[1] * updates[1]
        torch.testing.assert_close(B["both"] @ A["both"], expected, rtol=1e-4, atol=1e-5)


@each
def test_hot_swapping_takes_in_another_adapters_weights(name, tokens, tmp_path: Path) -> None:
    if name == "pissa" or "dora" in name:
        pytest.skip("PEFT's LoRA does not swap these either")
    other = adapted(name)
    randomise(other, "default", seed=5)
    expected = logits(other, tokens)
    other.save_pretrained(tmp_path)
    serving = get_peft_model(base_model(), config("peft_lora", **_scaling(name))).eval()
    hotswap_adapter(serving, str(tmp_path), "default", torch_device="cpu")
    torch.testing.assert_close(logits(serving, tokens), expected, rtol=0, atol=1e-5)


def _scaling(name: str) -> dict[str, bool]:
    return {"use_rslora": True} if name == "rslora" else {}


@each
def test_modules_to_save_are_trained_and_saved_whole(name, tokens, tmp_path: Path) -> None:
    if name == "pissa":
        pytest.skip("saved with its residual base; see the conversion of trials")
    model = adapted(name, modules_to_save=["lm_head"])
    head = model.base_model.model.lm_head.modules_to_save["default"].weight
    assert head.requires_grad
    nn.init.normal_(head, std=0.1)
    expected = logits(model, tokens)
    model.save_pretrained(tmp_path)
    loaded = PeftModel.from_pretrained(base_model(), tmp_path).eval()
    torch.testing.assert_close(logits(loaded, tokens), expected, rtol=0, atol=1e-5)


COMPILED = [(name, training) for name in CONFIGS for training in (False, True)]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "training"), COMPILED)
def test_compiled_it_computes_the_same(name, training, tokens) -> None:
    """Forward and gradients under ``torch.compile``, over two steps with masks of their own."""
    results = []
    for compiled in (False, True):
        torch._dynamo.reset()
        model = adapted(name).train(training)
        call = torch.compile(model, backend="aot_eager") if compiled else model
        seen = []
        for step in range(2):
            set_step(model, step)
            torch.manual_seed(step)
            loss = call(input_ids=tokens, labels=tokens).loss
            seen.append(loss.detach())
            loss.backward()
        results.append([*seen, *(p.grad for p in model.parameters() if p.requires_grad)])
    if training and name in DRAWN:
        # A compiled graph draws from torch's generator in an order of its own.
        assert all(torch.isfinite(value).all() for value in results[1])
        assert results[1][0] != results[1][1]
    else:
        torch.testing.assert_close(results[0], results[1], rtol=1e-4, atol=1e-5)


@each
def test_copies_and_checkpoints_of_the_whole_model(name, tokens) -> None:
    model = adapted(name)
    expected = logits(model, tokens)
    clone = copy.deepcopy(model)
    torch.testing.assert_close(logits(clone, tokens), expected, rtol=0, atol=0)
    if "learned" in name:
        return
    fresh = adapted(name)
    randomise(fresh, "default", seed=9)
    fresh.load_state_dict(model.state_dict())
    torch.testing.assert_close(logits(fresh, tokens), expected, rtol=0, atol=0)


@each
def test_folding_gates_changes_nothing_that_is_computed(name, tokens) -> None:
    model = adapted(name)
    expected = logits(model, tokens)
    fold_gates(model)
    assert not any("lora_gate" in key for key, _ in model.named_parameters())
    torch.testing.assert_close(logits(model, tokens), expected, rtol=1e-5, atol=1e-6)
