from __future__ import annotations

import importlib.util
import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from droplora_sweep.errors import InputError
from droplora_sweep.models.inspecting import inspect_model
from droplora_sweep.models.loading import load_base_model, load_tokenizer
from droplora_sweep.spec.trial import ModelSpec

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_base_model_is_frozen_in_evaluation_mode_and_in_its_precision(
    saved_model: Path, dtype: str
) -> None:
    model = load_base_model(ModelSpec(path=str(saved_model), dtype=dtype))
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert {parameter.dtype for parameter in model.parameters()} == {getattr(torch, dtype)}


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_attention_is_that_of_the_spec_and_gives_the_same(
    saved_model: Path, attention: str
) -> None:
    tokens = torch.tensor([[2, 3, 4, 2, 3]])
    usual = load_base_model(ModelSpec(path=str(saved_model)))
    model = load_base_model(ModelSpec(path=str(saved_model), attention=attention))
    assert model.config._attn_implementation == attention
    torch.testing.assert_close(model(tokens).logits, usual(tokens).logits)


def test_attention_that_is_not_installed_is_refused(saved_model: Path) -> None:
    if importlib.util.find_spec("flash_attn") is not None:
        pytest.skip("flash-attn is installed")
    with pytest.raises(InputError) as caught:
        load_base_model(ModelSpec(path=str(saved_model), attention="flash_attention_2"))
    [line] = str(caught.value).splitlines()
    assert line.startswith("model.attention: must be possible here, but ")
    assert "FlashAttention2" in line


def test_rotary_frequencies_stay_exact_in_bfloat16(saved_model: Path) -> None:
    model = load_base_model(ModelSpec(path=str(saved_model), dtype="bfloat16"))
    assert model.model.rotary_emb.inv_freq.dtype == torch.float32


def test_code_in_a_models_folder_is_not_run(saved_model: Path) -> None:
    config = json.loads((saved_model / "config.json").read_text())
    config |= {"model_type": "own", "auto_map": {"AutoModelForCausalLM": "own.Model"}}
    config["auto_map"]["AutoConfig"] = "own.Config"
    (saved_model / "config.json").write_text(json.dumps(config))
    (saved_model / "own.py").write_text(f"open({str(saved_model / 'ran')!r}, 'w')")
    with pytest.raises(InputError) as caught:
        load_base_model(ModelSpec(path=str(saved_model)))
    assert str(caught.value) == (
        "model.trust_remote_code: must be true for a model whose Python code comes with it, which "
        f"is to be read first: cannot load {saved_model}"
    )
    assert not (saved_model / "ran").exists()


def test_code_that_needs_a_package_that_is_not_here_is_refused_in_a_line(saved_model: Path) -> None:
    config = json.loads((saved_model / "config.json").read_text())
    config |= {"model_type": "own", "auto_map": {"AutoConfig": "own.Config"}}
    (saved_model / "config.json").write_text(json.dumps(config))
    (saved_model / "own.py").write_text("import no_such_package_of_mine\n")
    with pytest.raises(InputError) as caught:
        load_base_model(ModelSpec(path=str(saved_model), trust_remote_code=True))
    [line] = str(caught.value).splitlines()
    assert line.startswith(f"model.path: cannot load {saved_model}: ")
    assert "no_such_package_of_mine" in line or "packages that were not found" in line


def test_the_tokenizer_pads_with_eos_where_it_has_no_pad_token(saved_model: Path) -> None:
    tokenizer = load_tokenizer(ModelSpec(path=str(saved_model)))
    assert tokenizer.pad_token_id == tokenizer.eos_token_id == 0
    assert len(tokenizer) == 5
    padded = tokenizer(["one two three", "one"], padding=True)
    assert padded.input_ids == [[2, 3, 4], [0, 0, 2]]
    assert padded.attention_mask == [[1, 1, 1], [0, 0, 1]]


def test_a_tokenizer_without_eos_is_refused(saved_model: Path) -> None:
    file = saved_model / "tokenizer_config.json"
    config = json.loads(file.read_text())
    del config["eos_token"]
    file.write_text(json.dumps(config))
    with pytest.raises(InputError) as caught:
        load_tokenizer(ModelSpec(path=str(saved_model)))
    assert str(caught.value) == (
        f"model.path: must have a tokenizer with an EOS token, got {saved_model}"
    )


def add_adapter(folder: Path) -> None:
    """A trained adapter in the base model's own folder, as some repositories have."""
    base = AutoModelForCausalLM.from_pretrained(folder)
    config = LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False)
    get_peft_model(base, config).save_pretrained(folder)
    assert (folder / "adapter_model.safetensors").is_file()


def test_an_adapter_in_the_models_folder_is_not_loaded_with_it(saved_model: Path) -> None:
    spec = ModelSpec(path=str(saved_model))
    alone, summary = load_base_model(spec).state_dict(), inspect_model(saved_model)
    add_adapter(saved_model)

    model = load_base_model(spec)

    assert model.name_or_path == str(saved_model)
    assert model.state_dict().keys() == alone.keys()
    assert all(torch.equal(tensor, alone[name]) for name, tensor in model.state_dict().items())
    note = (
        f"model.path: {saved_model} also holds an adapter (adapter_config.json); the base model is "
        "loaded without it"
    )
    assert inspect_model(saved_model) == replace(summary, notes=(note,))


@pytest.mark.parametrize("missing", ["config.json", "model.safetensors"])
def test_an_adapter_without_its_model_is_refused(saved_model: Path, missing: str) -> None:
    add_adapter(saved_model)
    (saved_model / missing).unlink()
    with pytest.raises(InputError) as caught:
        load_base_model(ModelSpec(path=str(saved_model)))
    assert str(caught.value) == (
        f"model.path: must hold a base model, got {saved_model}, an adapter without its model; it "
        f"was trained on {saved_model}"
    )
