"""Trials with layers, ranks and whole modules of their own, from engine to saved files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from droplora_sweep.records.messages import Decision
from droplora_sweep.spec.trial import ModelSpec
from droplora_sweep.training.runner import TrialRunner
from tests.saved_files import trained_files
from tests.training.byte_model import save_model
from tests.training.test_methods import run, trial

if TYPE_CHECKING:
    from pathlib import Path

    from droplora_sweep.training.reporting import Report

SLOW = pytest.mark.slow
RANKS = {"target_modules": "all-linear", "layers": "1-3", "module_ranks": {"q_proj": 2}}
SAVED = {"modules_to_save": ["lm_head", "norm"]}
CASES: dict[str, dict[str, Any]] = {
    "step": {"mask": "step", **RANKS, **SAVED},
    "lora_drop": {"method": "lora_drop", "lora_drop": {"threshold": 0.4}, **RANKS, **SAVED},
    "pissa": {"method": "pissa", **RANKS, **SAVED},
}


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory) -> Path:
    """A random byte-level Llama of four layers."""
    return save_model(tmp_path_factory.mktemp("model"), num_layers=4)


@pytest.fixture(scope="module")
def resident(model_folder: Path) -> TrialRunner:
    return TrialRunner(ModelSpec(path=str(model_folder)), threads=1)


@pytest.mark.parametrize(
    "name", ["step", "lora_drop", *(pytest.param(name, marks=SLOW) for name in ("pissa",))]
)
def test_the_saved_adapter_predicts_what_the_trained_model_does(
    resident, model_folder, tmp_path, name
) -> None:
    """And the base model is bit for bit what it was."""
    tokens = torch.arange(40).reshape(2, 20)
    before = {key: weight.clone() for key, weight in resident._base.named_parameters()}
    seen: list[torch.Tensor] = []
    spec = trial(model_folder, **CASES[name])

    def decide(report: Report | None) -> Decision:
        with torch.no_grad():
            seen.append(resident._base.eval()(input_ids=tokens).logits)
        return Decision.GO_ON

    files = trained_files(resident, spec, decide)
    for file, content in files.items():
        (tmp_path / file).write_bytes(content)
    base = AutoModelForCausalLM.from_pretrained(model_folder)
    plain = PeftModel.from_pretrained(base, tmp_path).eval()
    with torch.no_grad():
        torch.testing.assert_close(plain(input_ids=tokens).logits, seen[-1], rtol=0, atol=1e-5)
    after = dict(resident._base.named_parameters())
    assert after.keys() == before.keys()
    assert all(torch.equal(after[key], weight) for key, weight in before.items())
    assert not any(weight.requires_grad for weight in after.values())


def test_training_starts_from_an_adapter_of_the_same_choice(resident, model_folder) -> None:
    """Its whole modules too."""
    spec = trial(model_folder, mask="step", **RANKS, **SAVED)
    files, _ = run(resident, spec)
    still = spec.model_copy(
        update={
            "training": spec.training.model_copy(
                update={"learning_rate": 1e-9, "weight_decay": 0.0}
            )
        }
    )
    started = trained_files(resident, still, lambda report: Decision.GO_ON, start=files)
    from safetensors.torch import load

    first, second = (load(one["adapter_model.safetensors"]) for one in (files, started))
    assert first.keys() == second.keys()
    assert any("lm_head" in name for name in first)
    for name, weight in first.items():
        torch.testing.assert_close(second[name], weight, rtol=0, atol=1e-7)


@pytest.mark.parametrize("bits", ["4bit", pytest.param("8bit", marks=SLOW)])
def test_a_quantised_base_takes_every_choice(model_folder, tmp_path, bits) -> None:
    pytest.importorskip("bitsandbytes", reason="the extra `quantization` is not installed")
    model = ModelSpec(path=str(model_folder), quantization=bits)
    resident = TrialRunner(model, threads=1)
    spec = trial(model_folder, mask="step", **RANKS, **SAVED).model_copy(update={"model": model})
    files, reports = run(resident, spec)
    assert reports[1].evaluation.metrics["train/loss"] < reports[0].evaluation.metrics["train/loss"]
    again, _ = run(resident, spec)
    assert again == files
