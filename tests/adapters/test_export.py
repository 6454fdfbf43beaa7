"""The saved adapter is plain LoRA: a process that never saw this package loads it."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import torch
from peft import LoraConfig
from safetensors.torch import load

from droplora_sweep.adapters import adapter_files, attach, detach, set_step
from droplora_sweep.spec.trial import AdapterSpec, ModelSpec, TrialSpec

if TYPE_CHECKING:
    from pathlib import Path

FRESH_PROCESS = """
import sys
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

folder = sys.argv[1]
tokens = torch.load(f"{folder}/tokens.pt")
for mask in ("token", "step"):
    model = AutoModelForCausalLM.from_pretrained(f"{folder}/base")
    model = PeftModel.from_pretrained(model, f"{folder}/{mask}").eval()
    with torch.no_grad():
        torch.save(model(tokens).logits, f"{folder}/{mask}.pt")
assert "droplora_sweep" not in sys.modules
"""


def trial(**adapter) -> TrialSpec:
    return TrialSpec(adapter=AdapterSpec(**{"rank": 4, "alpha": 8, **adapter}), seed=9)


def trained(base, tokens: torch.Tensor, spec: TrialSpec):
    adapted = attach(base, spec.adapter, spec.seed).train()
    optimizer = torch.optim.AdamW([p for p in adapted.parameters() if p.requires_grad], lr=0.05)
    torch.manual_seed(0)
    for step in range(3):
        set_step(adapted, step)
        adapted(input_ids=tokens, labels=tokens).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return adapted.eval()


def write(files: dict[str, bytes], folder: Path) -> None:
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)


def test_a_fresh_process_without_this_package_gets_equal_logits(base, tokens, tmp_path) -> None:
    base.save_pretrained(tmp_path / "base")
    torch.save(tokens, tmp_path / "tokens.pt")
    without = base(tokens).logits.detach()
    expected = {}
    for mask in ("token", "step"):
        spec = trial(pruning_rate=0.5, mask=mask)
        adapted = trained(base, tokens, spec)
        with torch.no_grad():
            expected[mask] = adapted(tokens).logits
        write(adapter_files(adapted, spec), tmp_path / mask)
        detach(adapted)

    command = [sys.executable, "-c", FRESH_PROCESS, str(tmp_path)]
    subprocess.run(command, check=True, cwd=tmp_path, capture_output=True)
    for mask, logits in expected.items():
        assert (logits - without).abs().max() > 0.01
        torch.testing.assert_close(torch.load(tmp_path / f"{mask}.pt"), logits, rtol=0, atol=1e-6)


def test_the_configuration_has_peft_keys_only(base, tokens) -> None:
    spec = trial(pruning_rate=0.5, target_modules=("v_proj", "q_proj"))
    saved = json.loads(adapter_files(attach(base, spec.adapter, 1), spec)["adapter_config.json"])
    plain = LoraConfig(task_type="CAUSAL_LM").to_dict()
    assert saved.keys() == plain.keys()
    assert saved["peft_type"] == "LORA"
    assert saved["target_modules"] == ["q_proj", "v_proj"]
    assert saved["base_model_name_or_path"] == "builtin"
    assert saved["inference_mode"] is True


def test_weights_have_the_names_that_loaders_require(base) -> None:
    """``base_model.model.<layer>.lora_{A,B}.weight``, as vLLM and llama.cpp's converter read."""
    spec = trial(target_modules=("q_proj",))
    weights = load(adapter_files(attach(base, spec.adapter, 1), spec)["adapter_model.safetensors"])
    prefix = "base_model.model.model.layers.0.self_attn.q_proj"
    assert weights[f"{prefix}.lora_A.weight"].shape == (4, 32)
    assert weights[f"{prefix}.lora_B.weight"].shape == (32, 4)
    assert len(weights) == 4


def test_side_file_and_card_tell_how_it_was_trained(base) -> None:
    spec = trial(pruning_rate=0.35, mask="step", rescale=False)
    spec = spec.model_copy(update={"model": ModelSpec(path="org/model", revision="a" * 40)})
    files = adapter_files(attach(base, spec.adapter, 1), spec)
    assert set(files) == {
        "adapter_config.json",
        "adapter_model.safetensors",
        "README.md",
        "droplora.json",
    }
    assert TrialSpec.model_validate(json.loads(files["droplora.json"])["trial"]) == spec
    card = files["README.md"].decode()
    assert "probability 0.35, a new mask per step, what was kept not divided by 0.65" in card
    assert f"`org/model` at `{'a' * 40}`" in card
    assert json.loads(files["adapter_config.json"])["revision"] == "a" * 40


def test_the_same_trial_gives_the_same_bytes(base, tokens) -> None:
    spec = trial(pruning_rate=0.5)
    results = []
    for _ in range(2):
        adapted = trained(base, tokens, spec)
        results.append(adapter_files(adapted, spec))
        detach(adapted)
    assert results[0] == results[1]


def test_bfloat16_weights_are_saved_as_they_are_used(base) -> None:
    base.to(torch.bfloat16)
    spec = trial()
    spec = spec.model_copy(update={"model": ModelSpec(dtype="bfloat16")})
    files = adapter_files(attach(base, spec.adapter, 1), spec)
    dtypes = {tensor.dtype for tensor in load(files["adapter_model.safetensors"]).values()}
    assert dtypes == {torch.bfloat16}
    assert "autocast_adapter_dtype=False" in files["README.md"].decode()
