"""Saved adapters are plain: a process that never saw this package loads them."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import torch
from peft import LoraConfig
from safetensors.torch import load

from droplora_sweep.adapters.attaching import attach
from droplora_sweep.spec import methods
from droplora_sweep.spec.trial import ModelSpec, TrialSpec
from tests.adapters.training import trained, trial
from tests.saved_files import saved_files

if TYPE_CHECKING:
    from pathlib import Path

METHODS = {
    "token": {"pruning_rate": 0.5},
    "sample": {"pruning_rate": 0.5, "mask": "sample"},
    "step": {"pruning_rate": 0.5, "mask": "step"},
    "learned": {"pruning_rate": 0.5, "mask": "learned"},
    "learned_unscaled": {"pruning_rate": 0.25, "mask": "learned", "rescale": False},
    "lora": {"method": "lora"},
    "rslora": {"method": "rslora", "pruning_rate": 0.5},
    "dora": {"method": "dora", "pruning_rate": 0.5},
    "dora_learned": {"method": "dora", "pruning_rate": 0.5, "mask": "learned"},
    "pissa": {"method": "pissa", "pruning_rate": 0.25},
    "pissa_learned": {"method": "pissa", "pruning_rate": 0.5, "mask": "learned"},
    "milora": {"method": "milora", "mask": "step", "pruning_rate": 0.5},
    "lora_drop": {"method": "lora_drop", "pruning_rate": 0.25, "lora_drop": {"threshold": 0.4}},
    "full": {"method": "full"},
}

FRESH_PROCESS = """
import sys
from pathlib import Path
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

folder = Path(sys.argv[1])
tokens = torch.load(folder / "tokens.pt")
for saved in sorted((folder / "saved").iterdir()):
    if (saved / "adapter_config.json").exists():
        model = AutoModelForCausalLM.from_pretrained(folder / "base")
        model = PeftModel.from_pretrained(model, saved).eval()
    else:
        model = AutoModelForCausalLM.from_pretrained(saved).eval()
    with torch.no_grad():
        torch.save(model(tokens).logits, folder / f"{saved.name}.pt")
assert "droplora_sweep" not in sys.modules
"""


@pytest.fixture(scope="module")
def saved(module_base, module_tokens, tmp_path_factory) -> Path:
    """Every method trained and saved over one resident base, then loaded by a fresh process."""
    base, tokens = module_base, module_tokens
    folder = tmp_path_factory.mktemp("export")
    base.save_pretrained(folder / "base")
    torch.save(tokens, folder / "tokens.pt")
    torch.save(base(tokens).logits.detach(), folder / "without.pt")
    (folder / "saved").mkdir()
    for name, adapter in METHODS.items():
        spec = trial(**adapter)
        adapted = trained(base, tokens, spec)
        with torch.no_grad():
            torch.save(adapted.model(tokens).logits, folder / f"{name}.expected.pt")
        (folder / "saved" / name).mkdir()
        for file, content in saved_files(adapted, spec).items():
            (folder / "saved" / name / file).write_bytes(content)
        adapted.detach()
    command = [sys.executable, "-c", FRESH_PROCESS, str(folder)]
    subprocess.run(command, check=True, cwd=folder, capture_output=True)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
def test_a_fresh_process_without_this_package_gets_equal_logits(saved: Path, name: str) -> None:
    expected = torch.load(saved / f"{name}.expected.pt")
    assert (expected - torch.load(saved / "without.pt")).abs().max() > 0.01
    torch.testing.assert_close(torch.load(saved / f"{name}.pt"), expected, rtol=0, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in METHODS if "dora" not in name])
def test_files_are_what_vllms_lora_loader_requires(saved: Path, name: str) -> None:
    """Its documented rules: no DoRA, no ``modules_to_save``, no bias, A and B of every module.

    Names are ``base_model.model.<module>.lora_{A,B}.weight``, A of shape (r, in), B of (out, r),
    with one r for all, which is in the configuration; llama.cpp's converter reads the same.
    """
    folder = saved / "saved" / name
    if name == "full":
        assert not (folder / "adapter_config.json").exists()
        return
    config = json.loads((folder / "adapter_config.json").read_text())
    assert config["peft_type"] == "LORA"
    assert not config["use_dora"]
    assert not config["modules_to_save"]
    assert config["bias"] == "none"
    assert not config["rank_pattern"]
    weights = load((folder / "adapter_model.safetensors").read_bytes())
    modules = {key.rsplit(".", 2)[0] for key in weights}
    assert len(modules) == 10
    assert len(weights) == 20
    for module in modules:
        assert module.startswith("base_model.model.model.layers.")
        assert module.rpartition(".")[2] in config["target_modules"]
        A, B = weights[f"{module}.lora_A.weight"], weights[f"{module}.lora_B.weight"]
        assert A.shape[0] == B.shape[1] == config["r"]


def test_the_configuration_has_peft_keys_only(base) -> None:
    spec = trial(pruning_rate=0.5, target_modules=("v_proj", "q_proj"))
    saved = json.loads(saved_files(attach(base, spec.adapter, 1), spec)["adapter_config.json"])
    plain = LoraConfig(task_type="CAUSAL_LM").to_dict()
    assert saved.keys() == plain.keys()
    assert saved["peft_type"] == "LORA"
    assert saved["target_modules"] == ["q_proj", "v_proj"]
    assert saved["base_model_name_or_path"] == "builtin"
    assert saved["inference_mode"] is True


def test_the_side_file_tells_how_it_was_trained(base) -> None:
    spec = trial(pruning_rate=0.35, mask="step", rescale=False)
    spec = spec.model_copy(update={"model": ModelSpec(path="org/model", revision="a" * 40)})
    files = saved_files(attach(base, spec.adapter, 1), spec)
    assert set(files) == {"adapter_config.json", "adapter_model.safetensors", "droplora.json"}
    assert TrialSpec.model_validate(json.loads(files["droplora.json"])["trial"]) == spec
    assert json.loads(files["adapter_config.json"])["revision"] == "a" * 40


@pytest.mark.parametrize("method", methods.METHODS)
def test_the_same_trial_gives_the_same_bytes(base, tokens, method: str) -> None:
    """On a resident base that has served another trial, of a higher rank, in between."""
    spec = trial(method=method, pruning_rate=0.5 * methods.method_of(method).has_rank)
    results = []
    for _ in range(2):
        adapted = trained(base, tokens, spec)
        results.append(saved_files(adapted, spec))
        adapted.detach()
        other = trained(base, tokens, trial(method=method, rank=8))
        other.detach()
    assert results[0] == results[1]


def test_bfloat16_weights_are_saved_as_they_are_used(base) -> None:
    base.to(torch.bfloat16)
    spec = trial()
    files = saved_files(attach(base, spec.adapter, 1), spec)
    dtypes = {tensor.dtype for tensor in load(files["adapter_model.safetensors"]).values()}
    assert dtypes == {torch.bfloat16}
