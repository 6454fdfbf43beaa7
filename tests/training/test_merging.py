"""Merging where embeddings and output layer share a weight, or seem to: against PEFT and logits."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, LlamaConfig

from droplora_sweep.adapters.attaching import attach
from droplora_sweep.errors import InputError
from droplora_sweep.models.loading import load_base_model
from droplora_sweep.models.resolving import BUILTIN_FOLDER
from droplora_sweep.spec import AdapterSpec, ModelSpec, TrialSpec
from droplora_sweep.training.merging import merged_model
from tests.saved_files import saved_files

if TYPE_CHECKING:
    from pathlib import Path

VOCABULARY = json.loads((BUILTIN_FOLDER / "config.json").read_text())["vocab_size"]
SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "bos_token_id": 0,
    "eos_token_id": 1,
}
BASES = ("tied", "stored", "untied")
TARGETS = (
    ["q_proj"],
    ["q_proj", "lm_head"],
    ["q_proj", "embed_tokens"],
    ["embed_tokens", "lm_head"],
)
TOKENS = torch.arange(2, 40)[None]


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tied embeddings; the same with a head of its own in the file; untied ones."""
    folder = tmp_path_factory.mktemp("bases")
    for name in BASES:
        torch.manual_seed(0)
        config = LlamaConfig(**SIZES, tie_word_embeddings=name != "untied")
        AutoModelForCausalLM.from_config(config).save_pretrained(folder / name)
        for path in BUILTIN_FOLDER.glob("tokenizer*"):
            shutil.copy(path, folder / name)
    file = folder / "stored" / "model.safetensors"
    weights = load_file(file)
    weights["lm_head.weight"] = 0.05 * torch.randn(VOCABULARY, 32)
    save_file(weights, file, metadata={"format": "pt"})
    return folder


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(TOKENS).logits


def changed(model: Any) -> Any:
    """The same model with an adapter that has been trained, as far as numbers tell."""
    torch.manual_seed(1)
    for weight in model.parameters():
        if weight.requires_grad:
            weight.data += 0.2 * torch.randn_like(weight)
    return model


def write(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


@pytest.mark.parametrize("targets", TARGETS, ids="+".join)
@pytest.mark.parametrize("method", ["lora", pytest.param("dora", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "base", ["tied", *(pytest.param(name, marks=pytest.mark.slow) for name in BASES[1:])]
)
def test_a_merged_model_computes_what_the_adapter_did(
    bases: Path, tmp_path: Path, base: str, method: str, targets: list[str]
) -> None:
    model = ModelSpec(path=str(bases / base))
    adapter = AdapterSpec(method=method, rank=4, alpha=8, dropout=0, target_modules=targets)
    spec = TrialSpec(model=model, adapter=adapter)
    adapted = attach(load_base_model(model), adapter, 1)
    expected = logits(changed(adapted.model))
    assert (expected - logits(load_base_model(model))).abs().max() > 1e-3
    folder = write(tmp_path / "adapter", saved_files(adapted, spec))
    by_peft = PeftModel.from_pretrained(load_base_model(model), folder)
    torch.testing.assert_close(logits(by_peft), expected, rtol=1e-4, atol=1e-5)
    merged = merged_model(model, folder)
    torch.testing.assert_close(logits(merged), expected, rtol=1e-4, atol=1e-5)
    merged.save_pretrained(tmp_path / "merged")
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    torch.testing.assert_close(logits(again), expected, rtol=1e-4, atol=1e-5)
    is_one = "lm_head.weight" not in load_file(tmp_path / "merged" / "model.safetensors")
    config = json.loads((tmp_path / "merged" / "config.json").read_text())
    assert config["tie_word_embeddings"] == is_one, "what loaders go by is what is there"
    assert is_one == (base == "tied" and targets == ["q_proj"])


def test_it_is_peft_s_own_merge_of_a_base_that_is_not_tied(bases: Path, tmp_path: Path) -> None:
    """An adapter that PEFT made and saved, on the tied base; merged by PEFT on an untied copy."""
    model = ModelSpec(path=str(bases / "tied"))
    config = LoraConfig(task_type="CAUSAL_LM", r=4, lora_alpha=8, target_modules=TARGETS[3])
    changed(get_peft_model(load_base_model(model), config)).save_pretrained(tmp_path / "adapter")
    untied = load_base_model(model)
    untied.lm_head.weight = torch.nn.Parameter(untied.lm_head.weight.detach().clone())
    by_peft = PeftModel.from_pretrained(untied, tmp_path / "adapter").merge_and_unload()
    ours = merged_model(model, tmp_path / "adapter")
    for name, weight in by_peft.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], weight, rtol=1e-5, atol=1e-6)


def test_the_sum_is_rounded_once(bases: Path, tmp_path: Path) -> None:
    model = ModelSpec(path=str(bases / "tied"), dtype="bfloat16")
    config = LoraConfig(task_type="CAUSAL_LM", r=4, target_modules=["lm_head"])
    base = load_base_model(model.model_copy(update={"dtype": "float32"}))
    changed(get_peft_model(base, config)).save_pretrained(tmp_path / "adapter")
    exact = merged_model(model.model_copy(update={"dtype": "float32"}), tmp_path / "adapter")
    rounded = merged_model(model, tmp_path / "adapter")
    assert rounded.config.dtype is torch.bfloat16
    assert torch.equal(rounded.lm_head.weight, exact.lm_head.weight.to(torch.bfloat16))


@pytest.mark.parametrize("method", ["pissa", "milora"])
def test_decompositions_leave_the_output_layer_s_weight_to_the_base_model(
    bases: Path, tmp_path: Path, method: str
) -> None:
    model = ModelSpec(path=str(bases / "untied"))
    adapter = AdapterSpec(method=method, rank=4, alpha=8, dropout=0, target_modules=TARGETS[1])
    base = load_base_model(model)
    adapted = attach(base, adapter, 1)
    expected = logits(changed(adapted.model))
    files = saved_files(adapted, TrialSpec(model=model, adapter=adapter))
    folder = write(tmp_path / "adapter", files)
    torch.testing.assert_close(logits(merged_model(model, folder)), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("base", "targets", "problem"),
    [
        (
            "untied",
            ["embed_tokens"],
            "must match linear layers with `method: pissa`, got model.embed_tokens",
        ),
        (
            "tied",
            ["lm_head"],
            "must leave out lm_head with `method: pissa`, which changes its weight: the embeddings "
            "share it",
        ),
    ],
)
def test_decompositions_of_embeddings_are_refused_and_leave_no_trace(
    bases: Path, base: str, targets: list[str], problem: str
) -> None:
    model = load_base_model(ModelSpec(path=str(bases / base)))
    before = logits(model)
    adapter = AdapterSpec(method="pissa", rank=4, alpha=8, target_modules=["q_proj", *targets])
    with pytest.raises(InputError) as caught:
        attach(model, adapter, 1)
    assert str(caught.value) == f"adapter.target_modules: {problem}"
    assert torch.equal(logits(model), before)
