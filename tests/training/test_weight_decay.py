"""The parameters with weight decay are those of transformers' Trainer."""

from __future__ import annotations

import copy

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import Trainer, TrainingArguments

from droplora_sweep.spec.trial import TrainingSpec
from droplora_sweep.training.device import settle
from droplora_sweep.training.engine import Engine, parameter_groups
from tests.training.architectures import CONFIGS, make


def decayed_by_trainer(model: torch.nn.Module) -> dict[str, float]:
    decayed = Trainer.get_decay_parameter_names(None, model)
    named = [name for name, weight in model.named_parameters() if weight.requires_grad]
    return {name: 0.1 if name in decayed else 0.0 for name in named}


def decayed_here(model: torch.nn.Module) -> dict[str, float]:
    groups = parameter_groups(model, 0.1)
    weights = {id(weight): name for name, weight in model.named_parameters()}
    for group in groups:
        assert [weights[id(weight)] for weight in group["params"]] == group["names"]
    return {name: group["weight_decay"] for group in groups for name in group["names"]}


@pytest.mark.parametrize("name", CONFIGS)
def test_a_full_model_decays_as_in_trainer(name: str) -> None:
    model = make(name, "meta")
    expected = decayed_by_trainer(model)
    assert decayed_here(model) == expected
    assert 0.0 in expected.values()


@pytest.mark.parametrize("bias", ["none", "all", "lora_only"])
@pytest.mark.parametrize("name", ["llama", "qwen2", "gpt2", "opt"])
def test_an_adapter_with_biases_and_whole_modules_decays_as_in_trainer(
    name: str, bias: str
) -> None:
    config = LoraConfig(
        r=2,
        target_modules=list(CONFIGS[name][1]),
        bias=bias,
        modules_to_save=["norm", "ln_f", "final_layer_norm", "lm_head"],
        task_type="CAUSAL_LM",
    )
    model = get_peft_model(make(name), config)
    assert decayed_here(model) == decayed_by_trainer(model)


def test_an_adapter_alone_is_one_group() -> None:
    model = get_peft_model(make("llama"), LoraConfig(r=2, target_modules=["q_proj"]))
    assert [group["weight_decay"] for group in parameter_groups(model, 0.1)] == [0.1]


@pytest.fixture
def engine_and_reference(
    request: pytest.FixtureRequest,
) -> tuple[Engine, torch.nn.Module, torch.nn.Module]:
    settle(1)
    model = make("qwen2").to(getattr(request, "param", torch.float32))
    reference = copy.deepcopy(model)
    training = TrainingSpec(weight_decay=0.5, max_grad_norm=1e9, micro_batch_size=1)
    return Engine(model, training, torch.device("cpu")), model, reference


def test_steps_are_those_of_trainers_optimizer(engine_and_reference, tmp_path) -> None:
    engine, model, reference = engine_and_reference
    arguments = TrainingArguments(
        output_dir=str(tmp_path), weight_decay=0.5, optim="adamw_torch", use_cpu=True
    )
    optimizer = Trainer(reference, arguments).create_optimizer()
    tokens = torch.arange(12).reshape(1, 12)
    for rate in (0.01, 0.02, 0.03):
        engine.backward(engine(input_ids=tokens, labels=tokens).loss)
        engine.step(rate)
        for group in optimizer.param_groups:
            group["lr"] = rate
        reference(input_ids=tokens, labels=tokens).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    engine.close()
    expected = dict(reference.named_parameters())
    for name, weight in model.named_parameters():
        torch.testing.assert_close(weight, expected[name], rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.parametrize(
    "engine_and_reference", [torch.float32, torch.bfloat16], ids=str, indirect=True
)
def test_a_state_goes_on_whatever_groups_it_was_saved_in(engine_and_reference) -> None:
    """Names say what is what: an earlier version saved one group, in the model's order."""
    engine, model, _ = engine_and_reference
    tokens = torch.arange(12).reshape(1, 12)
    engine.backward(engine(input_ids=tokens, labels=tokens).loss)
    engine.step(0.01)
    saved = engine.state()
    assert saved is not None
    names = [name for name, _ in model.named_parameters()]
    assert set(saved.weights) == set(names)
    assert list(saved.weights) != names
    parts = ("weights", "exp_avg", "exp_avg_sq")
    ordered = {part: {name: getattr(saved, part)[name] for name in names} for part in parts}
    with engine.reopened():
        pass
    engine.load_state(type(saved)(**ordered, num_updates=saved.num_updates))
    again = engine.state()
    engine.close()
    assert again is not None
    assert again.num_updates == saved.num_updates == 1
    for part in parts:
        for name, tensor in getattr(saved, part).items():
            assert torch.equal(tensor, getattr(again, part)[name])
