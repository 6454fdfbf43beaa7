"""QLoRA: DropLoRA over bitsandbytes' 4-bit and 8-bit layers, which run on CPU too."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora.layer import LoraLayer
from peft.utils.integrations import dequantize_module_weight
from torch import nn

from droplora_sweep.adapters.attaching import attach
from droplora_sweep.adapters.droplora.masks import draw_dropped
from droplora_sweep.errors import InputError
from droplora_sweep.models.loading import load_base_model
from droplora_sweep.spec.trial import ModelSpec
from tests.adapters.conftest import make_base
from tests.adapters.training import trained, trial
from tests.saved_files import saved_files
from tests.training.byte_model import make_tokenizer

if TYPE_CHECKING:
    from pathlib import Path

bnb = pytest.importorskip("bitsandbytes", reason="the extra `quantization` is not installed")
pytestmark = pytest.mark.filterwarnings("ignore:.*may get different generations due to rounding")

BITS = ["4bit", "8bit"]
MASKS = ["token", "sample", "step", "learned"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("model")
    make_base().save_pretrained(path)
    make_tokenizer().save_pretrained(path)
    return path


def skip_what_peft_cannot(bits: str, *, use_dora: bool) -> None:
    if use_dora and bits == "8bit" and not torch.cuda.is_available():
        pytest.skip("PEFT's own DoRA over 8-bit layers fails on CPU at its second forward pass")


def quantised(folder: Path, bits: str, dtype: str = "float32"):
    return load_base_model(ModelSpec(path=str(folder), quantization=bits, dtype=dtype))


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("use_dora", [False, True])
def test_the_layer_is_the_formula_over_the_dequantised_weight(folder, bits, mask, use_dora) -> None:
    skip_what_peft_cannot(bits, use_dora=use_dora)
    method = "dora" if use_dora else "lora"
    spec = trial(method=method, pruning_rate=0.5, mask=mask, dropout=0.0, rank=8).adapter
    adapted = attach(quantised(folder, bits), spec, seed=42)
    adapted.set_step(3, 4)
    name, layer = next(
        (name, module)
        for name, module in adapted.model.named_modules()
        if isinstance(module, LoraLayer)
    )
    assert type(layer).__mro__[2].__module__ == "peft.tuners.lora.bnb"
    assert name.endswith("model.layers.0.self_attn.q_proj")
    A, B = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    nn.init.normal_(B)
    layer.train()
    x = torch.randn(2, 5, 32, requires_grad=True)
    variant = layer.lora_variant["default"]
    assert variant.layer_name == "model.layers.0.self_attn.q_proj"
    torch.manual_seed(1)
    hidden = x @ A.T
    torch.manual_seed(1)
    if mask == "step":
        kept = variant._kept_slices(layer.lora_A["default"], layer.lora_B["default"], 1.0).kept
        hidden = hidden * torch.zeros(8).index_fill(0, kept, 2.0)
    elif mask == "learned":
        hidden = hidden * variant.gate(layer, "default")
    elif mask == "token":
        hidden = hidden * ~draw_dropped(torch.Size((2, 5, 8)), 0.5, x.device) * 2
    else:
        hidden = hidden * ~draw_dropped(torch.Size((2, 1, 8)), 0.5, x.device) * 2
    base = layer.base_layer(x)
    update = layer.scaling["default"] * hidden @ B.T
    expected = base + update
    if use_dora:
        weight = dequantize_module_weight(layer.base_layer).float()
        norm = (weight + layer.get_delta_weight("default")).norm(dim=1).detach()
        expected = layer.lora_magnitude_vector["default"].weight / norm * expected
    torch.manual_seed(1)
    torch.testing.assert_close(layer(x), expected, rtol=1e-4, atol=1e-5)
    torch.manual_seed(1)
    wanted = [A, B, x]
    ours = torch.autograd.grad(layer(x).sum(), wanted)
    theirs = torch.autograd.grad(expected.sum(), wanted)
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("bits", BITS)
def test_without_pruning_it_is_pefts_qlora_bit_for_bit(folder, tokens, bits) -> None:
    results = []
    for make in (
        lambda base: attach(base, trial(dropout=0.0).adapter, seed=5).model,
        lambda base: get_peft_model(
            base,
            LoraConfig(
                r=4,
                lora_alpha=8,
                task_type="CAUSAL_LM",
                target_modules=list(trial().adapter.target_modules),
            ),
        ),
    ):
        base = quantised(folder, bits)
        torch.manual_seed(5)
        model = make(base).train()
        loss = model(input_ids=tokens, labels=tokens).loss
        loss.backward()
        results.append([loss, *(p.grad for p in model.parameters() if p.requires_grad)])
    assert len(results[0]) == 21
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    "method",
    ["droplora", *(pytest.param(one, marks=pytest.mark.slow) for one in ("dora", "lora_drop"))],
)
def test_it_trains_saves_a_plain_adapter_and_leaves_the_base(
    folder, tokens, tmp_path, bits, dtype, method
) -> None:
    skip_what_peft_cannot(bits, use_dora=method == "dora")
    base = quantised(folder, bits, dtype)
    with torch.no_grad():
        before = base(tokens).logits
    spec = trial(method=method, pruning_rate=0.5)
    adapted = trained(base, tokens, spec)
    with torch.no_grad():
        expected = adapted.model(tokens).logits
    assert (expected - before).abs().max() > 0.01
    for file, content in saved_files(adapted, spec).items():
        (tmp_path / file).write_bytes(content)
    adapted.detach()
    with torch.no_grad():
        assert torch.equal(base(tokens).logits, before)
        plain = PeftModel.from_pretrained(base, tmp_path, autocast_adapter_dtype=False).eval()
        tolerance = 1e-5 if dtype == "float32" else 0.05
        torch.testing.assert_close(plain(tokens).logits, expected, rtol=0, atol=tolerance)
    assert json.loads((tmp_path / "adapter_config.json").read_text())["peft_type"] == "LORA"


@pytest.mark.parametrize("bits", BITS)
def test_merging_is_as_close_as_quantising_again_allows(folder, tokens, bits) -> None:
    base = quantised(folder, bits)
    adapted = trained(base, tokens, trial(pruning_rate=0.5, mask="learned"))
    with torch.no_grad():
        expected = adapted.model(tokens).logits
        adapted.peft_model.merge_adapter()
        merged = adapted.model(tokens).logits
    assert torch.nn.functional.cosine_similarity(merged, expected, dim=-1).mean() > 0.9


def test_methods_that_change_base_weights_say_that_they_cannot(folder) -> None:
    base = quantised(folder, "4bit")
    with pytest.raises(InputError, match="must be none with `method: pissa`"):
        attach(base, trial(method="pissa").adapter, seed=1)
