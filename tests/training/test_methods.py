"""Every method through the whole of a trial: engine, loop, evaluation, files."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load
from transformers import AutoModelForCausalLM

from droplora_sweep.errors import TrialError
from droplora_sweep.records.messages import Decision
from droplora_sweep.spec.adapter import AdapterSpec
from droplora_sweep.spec.evaluation import EvaluationSpec
from droplora_sweep.spec.task import TaskSpec
from droplora_sweep.spec.trial import ModelSpec, TrainingSpec, TrialSpec
from droplora_sweep.training.runner import TrialRunner
from tests.saved_files import trained_files
from tests.training.byte_model import save_model

if TYPE_CHECKING:
    from pathlib import Path

    from droplora_sweep.training.reporting import Report

METHODS = {
    "sample": {"mask": "sample"},
    "step": {"mask": "step", "pruning_schedule": "linear"},
    "learned": {"mask": "learned"},
    "dora": {"method": "dora"},
    "pissa": {"method": "pissa"},
    "milora": {"method": "milora", "mask": "step"},
    "rslora": {"method": "rslora"},
    "lora_drop": {"method": "lora_drop", "lora_drop": {"threshold": 0.4}},
    "full": {"method": "full", "pruning_rate": 0.0},
}
TARGETS = ("q_proj", "up_proj")


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory) -> Path:
    """A random byte-level Llama of four layers."""
    return save_model(tmp_path_factory.mktemp("model"), num_layers=4)


@pytest.fixture(scope="module")
def resident(model_folder: Path) -> TrialRunner:
    return TrialRunner(ModelSpec(path=str(model_folder)), threads=1)


def trial(folder: Path, *, epochs: int = 2, **adapter) -> TrialSpec:
    fields = {"rank": 4, "alpha": 8, "pruning_rate": 0.5, "target_modules": TARGETS, **adapter}
    return TrialSpec(
        model=ModelSpec(path=str(folder)),
        adapter=AdapterSpec(**fields),
        task=TaskSpec(benchmarks=("builtin_choice",), num_train=8, num_validation=2),
        training=TrainingSpec(
            learning_rate=5e-3 if fields.get("method") != "full" else 1e-3,
            epochs=epochs,
            global_batch_size=4,
            micro_batch_size=2,
            warmup_steps=1,
        ),
        evaluation=EvaluationSpec(num_evaluations=2, batch_size=8, max_new_tokens=2),
        seed=1,
    )


def run(resident: TrialRunner, spec: TrialSpec) -> tuple[dict[str, bytes], list[Report]]:
    reports: list[Report] = []

    def decide(report: Report | None) -> Decision:
        assert report is not None
        reports.append(report)
        return Decision.GO_ON

    return trained_files(resident, spec, decide), reports


@pytest.mark.parametrize("name", METHODS)
def test_a_trial_trains_and_leaves_the_base_bit_for_bit(resident, model_folder, name) -> None:
    base = resident._base
    parameters = dict(base.named_parameters())
    values = {key: parameter.clone() for key, parameter in parameters.items()}
    files, reports = run(resident, trial(model_folder, **METHODS[name]))
    assert reports[1].evaluation.metrics["train/loss"] < reports[0].evaluation.metrics["train/loss"]
    for key, parameter in base.named_parameters():
        assert parameter is parameters[key]
        assert torch.equal(parameter, values[key])
        assert not parameter.requires_grad
        assert parameter.grad is None
    again, _ = run(resident, trial(model_folder, **METHODS[name]))
    assert files == again


@pytest.mark.parametrize("name", ["learned", "pissa", "lora_drop"])
def test_the_saved_adapter_predicts_what_the_trained_model_does(
    resident, model_folder, tmp_path, name
) -> None:
    """Its logits in plain PEFT on the original base are those of the last evaluation's model."""
    tokens = torch.arange(40).reshape(2, 20)
    seen: list[torch.Tensor] = []
    spec = trial(model_folder, **METHODS[name])

    def decide(report: Report | None) -> Decision:
        model = resident._base.eval()
        with torch.no_grad():
            seen.append(model(input_ids=tokens).logits)
        return Decision.GO_ON

    files = trained_files(resident, spec, decide)
    for file, content in files.items():
        (tmp_path / file).write_bytes(content)
    base = AutoModelForCausalLM.from_pretrained(model_folder)
    plain = PeftModel.from_pretrained(base, tmp_path).eval()
    with torch.no_grad():
        torch.testing.assert_close(plain(input_ids=tokens).logits, seen[-1], rtol=0, atol=1e-5)


def test_a_full_model_loads_with_its_tokenizer(resident, model_folder, tmp_path) -> None:
    files, reports = run(resident, trial(model_folder, **METHODS["full"]))
    for file, content in files.items():
        (tmp_path / file).write_bytes(content)
    model = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert reports[0].evaluation.metrics["trainable_parameters"] == model.num_parameters()
    assert (tmp_path / "tokenizer.json").is_file()
    before = resident._base.model.layers[0].mlp.up_proj.weight
    assert not torch.equal(model.model.layers[0].mlp.up_proj.weight, before)


def test_lora_drop_keeps_some_layers_and_shares_one_adapter_per_kind(
    resident, model_folder
) -> None:
    files, reports = run(resident, trial(model_folder, **METHODS["lora_drop"]))
    facts = json.loads(files["droplora.json"])["lora_drop"]
    weights = load(files["adapter_model.safetensors"])
    num_distinct = 0
    for kind, section, num_in, num_out in (
        ("q_proj", "self_attn", 32, 32),
        ("up_proj", "mlp", 32, 48),
    ):
        names = [f"model.layers.{index}.{section}.{kind}" for index in range(4)]
        kept = set(facts["kept_layers"]) & set(names)
        outputs = [facts["mean_squared_outputs"][name] for name in names]
        assert 0 < len(kept) < 3
        assert max(outputs) == facts["mean_squared_outputs"][max(kept, key=_output(facts))]
        A = {name: weights[f"base_model.model.{name}.lora_A.weight"] for name in names}
        dropped = [name for name in names if name not in kept]
        assert all(torch.equal(A[name], A[dropped[0]]) for name in dropped)
        assert not any(torch.equal(A[name], A[dropped[0]]) for name in kept)
        num_distinct += (len(kept) + 1) * 4 * (num_in + num_out)
    assert facts["num_trainable_parameters"] == num_distinct
    assert reports[-1].evaluation.metrics["trainable_parameters"] == num_distinct


def test_lora_drop_needs_steps_to_sample_and_to_train(resident, model_folder) -> None:
    with pytest.raises(TrialError, match=r"at least 2 optimiser steps before .* the trial has 2"):
        run(resident, trial(model_folder, epochs=1, method="lora_drop"))


@pytest.mark.parametrize(("bits", "dtype"), [("4bit", "bfloat16"), ("8bit", "float32")])
def test_a_quantised_base_is_trained_on_and_left_alone(model_folder, tmp_path, bits, dtype) -> None:
    pytest.importorskip("bitsandbytes", reason="the extra `quantization` is not installed")
    model = ModelSpec(path=str(model_folder), quantization=bits, dtype=dtype)
    resident = TrialRunner(model, threads=1)
    tokens = torch.arange(40).reshape(2, 20)

    def state() -> list[tuple[torch.dtype, torch.Tensor]]:
        with torch.no_grad():
            logits = resident._base(input_ids=tokens).logits
        return [(p.dtype, p.clone()) for p in (*resident._base.parameters(), logits)]

    before = state()
    spec = trial(model_folder, mask="step").model_copy(update={"model": model})
    files, reports = run(resident, spec)
    assert reports[1].evaluation.metrics["train/loss"] < reports[0].evaluation.metrics["train/loss"]
    weights = load(files["adapter_model.safetensors"])
    assert {tensor.dtype for tensor in weights.values()} == {getattr(torch, dtype)}
    for (was_dtype, was), (is_dtype, now) in zip(before, state(), strict=True):
        assert was_dtype == is_dtype
        assert torch.equal(was, now)
    again, _ = run(resident, spec)
    assert again == files


def _output(facts):
    return lambda name: facts["mean_squared_outputs"][name]
