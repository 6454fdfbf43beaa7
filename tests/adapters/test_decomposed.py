"""PiSSA and MiLoRA: what they start from, against PEFT and against the definition."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from peft import LoraConfig, get_peft_model
from peft.tuners.lora.layer import LoraLayer
from safetensors.torch import load, load_file
from transformers import GPT2Config, GPT2LMHeadModel

from droplora_sweep.adapters.attaching import attach
from droplora_sweep.errors import InputError
from tests.adapters.conftest import make_base
from tests.adapters.training import trained, trial
from tests.saved_files import saved_files

if TYPE_CHECKING:
    from pathlib import Path

TARGETS = ("q_proj", "k_proj", "down_proj")
PEFT = LoraConfig(
    r=4,
    lora_alpha=8,
    target_modules=list(TARGETS),
    task_type="CAUSAL_LM",
    init_lora_weights="pissa",
)


def layers(model) -> dict[str, LoraLayer]:
    return {name: m for name, m in model.named_modules() if isinstance(m, LoraLayer)}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_pissa_starts_as_pefts(base, dtype) -> None:
    ours = layers(
        attach(
            base.to(dtype), trial(method="pissa", target_modules=TARGETS, dropout=0.0).adapter, 1
        ).model
    )
    theirs = layers(get_peft_model(make_base().to(dtype), PEFT, autocast_adapter_dtype=False))
    assert ours.keys() == theirs.keys()
    for name, layer in ours.items():
        for part in ("lora_A", "lora_B"):
            ours_part = getattr(layer, part)["default"].weight
            assert torch.equal(ours_part, getattr(theirs[name], part)["default"].weight)
        assert torch.equal(layer.base_layer.weight, theirs[name].base_layer.weight)


def test_pissas_conversion_is_pefts(base, tokens, tmp_path: Path) -> None:
    """PEFT's ``path_initial_model_for_weight_conversion``, after the same training."""
    spec = trial(method="pissa", target_modules=TARGETS, dropout=0.0)
    ours = load(saved_files(trained(base, tokens, spec), spec)["adapter_model.safetensors"])

    theirs = get_peft_model(make_base(), PEFT)
    theirs.peft_config["default"].init_lora_weights = True
    theirs.save_pretrained(tmp_path / "start")
    theirs.peft_config["default"].init_lora_weights = "pissa"
    optimizer = torch.optim.AdamW([p for p in theirs.parameters() if p.requires_grad], lr=0.05)
    theirs.train()
    for _ in range(4):
        theirs(input_ids=tokens, labels=tokens).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    theirs.save_pretrained(
        tmp_path / "end", path_initial_model_for_weight_conversion=str(tmp_path / "start")
    )
    converted = load_file(tmp_path / "end" / "adapter_model.safetensors")
    assert ours.keys() == converted.keys()
    for name, tensor in ours.items():
        torch.testing.assert_close(tensor, converted[name], rtol=0, atol=1e-6)


@pytest.mark.parametrize(("method", "part"), [("pissa", slice(4)), ("milora", slice(-4, None))])
@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_the_start_is_a_part_of_the_weights_decomposition(method, part, architecture) -> None:
    """``scaling B A`` is U S V of these triples, and the base model holds the rest of W."""
    base, targets = make_base(), TARGETS
    if architecture == "gpt2":
        torch.manual_seed(7)
        config = GPT2Config(vocab_size=96, n_positions=64, n_embd=32, n_layer=2, n_head=4)
        base, targets = GPT2LMHeadModel(config).eval().requires_grad_(False), ("c_attn",)
    weights = {name: module.weight.clone() for name, module in base.named_modules() if _is(module)}
    adapted = attach(base, trial(method=method, target_modules=targets).adapter, 1)
    checked = 0
    for name, layer in layers(adapted.model).items():
        W = weights[name.removeprefix("base_model.model.")]
        if architecture == "gpt2":
            W = W.T
        U, S, V = torch.linalg.svd(W, full_matrices=False)
        expected = U[:, part] @ torch.diag(S[part]) @ V[part]
        A, B = layer.lora_A["default"].weight, layer.lora_B["default"].weight
        update = layer.scaling["default"] * B @ A
        torch.testing.assert_close(update, expected, rtol=1e-4, atol=1e-5)
        rest = layer.base_layer.weight
        rest = rest.T if architecture == "gpt2" else rest
        torch.testing.assert_close(rest + update, W, rtol=1e-4, atol=1e-6)
        # Both factors take half of the singular values.
        torch.testing.assert_close(A.norm(), B.norm(), rtol=1e-4, atol=1e-5)
        checked += 1
    assert checked == (2 if architecture == "gpt2" else 6)


@pytest.mark.parametrize("method", ["pissa", "milora"])
def test_nothing_is_changed_before_the_first_step(base, tokens, method) -> None:
    expected = base(tokens).logits
    adapted = attach(base, trial(method=method, dropout=0.0).adapter, 1)
    torch.testing.assert_close(adapted.model(tokens).logits, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("ranks", [(2, 8), (8, 2)])
def test_what_an_earlier_trial_decomposed_changes_no_bit(base, ranks) -> None:
    def start(base, rank: int) -> dict[str, torch.Tensor]:
        adapted = attach(base, trial(method="milora", rank=rank).adapter, 1)
        state = {name: tensor.clone() for name, tensor in adapted.model.state_dict().items()}
        adapted.detach()
        return state

    start(base, ranks[0])
    used, fresh = start(base, ranks[1]), start(make_base(), ranks[1])
    assert used.keys() == fresh.keys()
    assert all(torch.equal(used[name], fresh[name]) for name in used)


def test_a_rank_that_a_layer_does_not_have_leaves_the_base_alone(base, tokens) -> None:
    before = base(tokens).logits
    spec = trial(method="pissa", rank=17, target_modules=("q_proj", "k_proj")).adapter
    with pytest.raises(InputError, match=r"adapter.rank: must be at most 16, "):
        attach(base, spec, 1)
    assert torch.equal(base(tokens).logits, before)
    assert not hasattr(base, "peft_config")


def _is(module) -> bool:
    return getattr(module, "weight", None) is not None and module.weight.ndim == 2
