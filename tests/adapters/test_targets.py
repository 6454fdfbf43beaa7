"""Layers, ranks and alphas that an adapter chooses are those that PEFT has for the same."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora.layer import LoraLayer

from droplora_sweep.adapters.adapted import PREFIX
from droplora_sweep.adapters.attaching import attach, attach_and_count
from droplora_sweep.adapters.compression import FactoredAdapter, with_scaling
from droplora_sweep.adapters.droplora import set_step
from droplora_sweep.adapters.sizes import num_saved_numbers, num_trainable_parameters
from droplora_sweep.errors import InputError
from droplora_sweep.spec import AdapterSpec, TrialSpec
from tests.adapters.conftest import make_base, make_tokens
from tests.saved_files import saved_files
from tests.training.architectures import CONFIGS, make

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

    from droplora_sweep.adapters.adapted import Adapted

pytestmark = [
    pytest.mark.filterwarnings("ignore:Already found a `peft_config` attribute"),
    pytest.mark.filterwarnings("ignore:.*fan_in_fan_out"),
]

SLOW = pytest.mark.slow
OFTEN_ENOUGH = ("llama", "llama_tied", "gpt2", "opt")
ARCHITECTURES = [
    name if name in OFTEN_ENOUGH else pytest.param(name, marks=SLOW) for name in CONFIGS
]


def layers_of(model: nn.Module) -> dict[str, tuple[int, float]]:
    """Rank and scaling of each layer with an adapter."""
    return {
        name.removeprefix(PREFIX): (layer.r["default"], layer.scaling["default"])
        for name, layer in model.named_modules()
        if isinstance(layer, LoraLayer)
    }


def ours(base: nn.Module, **fields: Any) -> dict[str, tuple[int, float]]:
    adapted = attach(base, AdapterSpec(rank=4, alpha=8, dropout=0.0, **fields), 1)
    found = layers_of(adapted.model)
    adapted.detach()
    return found


def pefts(base: nn.Module, **fields: Any) -> dict[str, tuple[int, float]]:
    config = LoraConfig(task_type="CAUSAL_LM", r=4, lora_alpha=8, **fields)
    return layers_of(get_peft_model(base, config))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_all_linear_is_pefts(name: str) -> None:
    found = ours(make(name, "meta"), target_modules="all-linear")
    assert found == pefts(make(name, "meta"), target_modules="all-linear")
    assert "lm_head" not in found


def test_the_layers_of_fused_experts_cannot_be_told_apart() -> None:
    with pytest.raises(InputError, match=r"^adapter\.layers: must be all with .*, got 1$"):
        attach(make("mixtral", "meta"), AdapterSpec(target_modules="all-linear", layers=[1]), 1)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_an_expression_is_pefts(name: str) -> None:
    names = "|".join(CONFIGS[name][1])
    expression = rf"(.*\.)?({names})"
    found = ours(make(name, "meta"), target_modules=expression)
    assert found == pefts(make(name, "meta"), target_modules=expression)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_layers_are_those_that_peft_transforms(name: str) -> None:
    targets = list(CONFIGS[name][1])
    found = ours(make(name, "meta"), target_modules=targets, layers="1")
    expected = pefts(make(name, "meta"), target_modules=targets, layers_to_transform=[1])
    assert found == expected
    assert 0 < len(found) < len(ours(make(name, "meta"), target_modules=targets))


def test_layers_of_all_linear_are_those_of_their_names() -> None:
    names = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    found = ours(make("llama", "meta"), target_modules="all-linear", layers=[0])
    assert found == pefts(make("llama", "meta"), target_modules=names, layers_to_transform=0)


@pytest.mark.parametrize("name", ["llama", "gpt2"])
@pytest.mark.parametrize("use_rslora", [False, True])
def test_ranks_and_alphas_are_those_of_pefts_patterns(name: str, use_rslora: bool) -> None:
    one, two = CONFIGS[name][1]
    found = ours(
        make(name, "meta"),
        method="rslora" if use_rslora else "lora",
        target_modules=[one, two],
        module_ranks={one: 2},
        module_alphas={two: 5},
    )
    assert found == pefts(
        make(name, "meta"),
        target_modules=[one, two],
        use_rslora=use_rslora,
        rank_pattern={one: 2},
        # A lower rank keeps alpha / rank.
        alpha_pattern={one: 4, two: 5},
    )


def test_the_longest_key_counts_whatever_the_order_in_a_saved_file() -> None:
    keys = {"q_proj": 2, "layers.1.self_attn.q_proj": 3}
    for module_ranks in (keys, dict(reversed(keys.items()))):
        found = ours(make_base(), target_modules=["q_proj", "v_proj"], module_ranks=module_ranks)
        assert {name: rank for name, (rank, _) in found.items()} == {
            "model.layers.0.self_attn.q_proj": 2,
            "model.layers.0.self_attn.v_proj": 4,
            "model.layers.1.self_attn.q_proj": 3,
            "model.layers.1.self_attn.v_proj": 4,
        }
        assert {scaling for _, scaling in found.values()} == {2.0}


METHODS: dict[str, dict[str, Any]] = {
    "lora": {},
    "token": {"pruning_rate": 0.5},
    "step": {"pruning_rate": 0.5, "mask": "step"},
    "learned": {"pruning_rate": 0.5, "mask": "learned"},
    "dora": {"method": "dora", "pruning_rate": 0.5},
    "dora_learned": {"method": "dora", "pruning_rate": 0.5, "mask": "learned"},
    "rslora": {"method": "rslora", "pruning_rate": 0.5},
    "pissa": {"method": "pissa", "pruning_rate": 0.5},
    "milora": {"method": "milora"},
    "lora_drop": {"method": "lora_drop"},
}
CHOICES: dict[str, dict[str, Any]] = {
    "all_linear": {"target_modules": "all-linear"},
    "expression": {"target_modules": r".*\.(q|v|down)_proj"},
    "layers": {"target_modules": ["q_proj", "down_proj"], "layers": [1]},
    "ranks": {
        "target_modules": ["q_proj", "v_proj", "down_proj"],
        "module_ranks": {"q_proj": 2, "layers.1.self_attn.v_proj": 6},
        "module_alphas": {"down_proj": 3},
    },
    "saved": {"target_modules": ["q_proj", "down_proj"], "modules_to_save": ["lm_head", "norm"]},
    "all": {
        "target_modules": "all-linear",
        "layers": "0-1",
        "module_ranks": {"v_proj": 2, "layers.0.mlp.up_proj": 3},
        "modules_to_save": ["embed_tokens", "o_proj"],
    },
}


def spec_of(method: str, choice: str) -> AdapterSpec:
    return AdapterSpec(rank=4, alpha=8, dropout=0.0, **METHODS[method], **CHOICES[choice])


def trained(adapted: Adapted) -> nn.Module:
    """The model with weights as after training, in evaluation mode."""
    generator = torch.Generator().manual_seed(5)
    for weight in adapted.model.parameters():
        if weight.requires_grad:
            weight.data += 0.1 * torch.randn(weight.shape, generator=generator)
    return adapted.model.eval()


@torch.no_grad()
def logits(model: nn.Module) -> torch.Tensor:
    return model(input_ids=make_tokens()).logits


def write(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("method", METHODS)
def test_plain_peft_computes_what_was_trained(method: str, choice: str, tmp_path: Path) -> None:
    spec = spec_of(method, choice)
    base = make_base()
    before = {name: weight.clone() for name, weight in base.named_parameters()}
    adapted = attach(base, spec, 1)
    shapes = {name: tuple(weight.shape) for name, weight in before.items()}
    assert adapted.num_trainable == num_trainable_parameters(shapes, spec)
    if method == "lora_drop":
        outputs = {name: 1.0 / (1 + index) for index, name in enumerate(layers_of(adapted.model))}
        adapted.resume({"lora_drop": {"mean_squared_outputs": outputs}})
    model = trained(adapted)
    expected = logits(model)
    folder = write(tmp_path / "adapter", saved_files(adapted, TrialSpec(adapter=spec)))
    adapted.detach()
    assert all(torch.equal(weight, before[name]) for name, weight in base.named_parameters())
    assert (logits(base) - expected).abs().max() > 1e-3

    plain = PeftModel.from_pretrained(make_base(), folder)
    close = {"rtol": 1e-3, "atol": 1e-4} if "dora" in method else {"rtol": 1e-4, "atol": 1e-5}
    torch.testing.assert_close(logits(plain), expected, **close)
    num_saved = sum(weight.numel() for weight in _weights(folder).values())
    assert num_saved == num_saved_numbers(shapes, spec)
    counted = attach_and_count(make_base(), spec)
    assert (counted.num_trained, counted.num_saved) == (
        num_trainable_parameters(shapes, spec),
        num_saved,
    )
    merged = plain.merge_and_unload()
    torch.testing.assert_close(logits(merged), expected, rtol=1e-3, atol=1e-4)


def _weights(folder: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(folder / "adapter_model.safetensors")


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("method", ["lora", "rslora", "pissa"])
def test_it_is_compressed_and_scaled_anew(method: str, choice: str, tmp_path: Path) -> None:
    spec = spec_of(method, choice)
    adapted = attach(make_base(), spec, 1)
    expected = logits(trained(adapted))
    files = saved_files(adapted, TrialSpec(adapter=spec))
    factored = FactoredAdapter(files)
    whole = factored.truncated(factored.rank)
    plain = PeftModel.from_pretrained(make_base(), write(tmp_path / "whole", whole))
    torch.testing.assert_close(logits(plain), expected, rtol=1e-3, atol=1e-4)
    cut = factored.truncated(2)
    plain = PeftModel.from_pretrained(make_base(), write(tmp_path / "cut", cut))
    assert max(rank for rank, _ in layers_of(plain).values()) == 2
    assert (logits(plain) - expected).abs().max() > 1e-4

    if spec.modules_to_save:
        return
    # A reader such as llama.cpp, which has one alpha and divides it by the rank of each layer.
    config = json.loads(files["adapter_config.json"])
    weights = with_scaling(files["adapter_model.safetensors"], config, 7.0)
    for name in config["rank_pattern"] or {}:
        config["alpha_pattern"].pop(name, None)
    config |= {"lora_alpha": 7.0, "use_rslora": False, "alpha_pattern": {}}
    as_read = {
        **files,
        "adapter_config.json": json.dumps(config).encode(),
        "adapter_model.safetensors": weights,
    }
    plain = PeftModel.from_pretrained(make_base(), write(tmp_path / "read", as_read))
    torch.testing.assert_close(logits(plain), expected, rtol=1e-3, atol=1e-4)


def test_a_mask_is_as_wide_as_the_layers_own_rank() -> None:
    """With ``step`` half of 6 ranks are kept in one layer, half of 2 in the other."""
    spec = spec_of("step", "ranks")
    adapted = attach(make_base(), spec, 1)
    set_step(adapted.model, 0)
    adapted.model.train()
    adapted.model(input_ids=make_tokens()).logits.sum().backward()
    for name, layer in adapted.model.named_modules():
        if isinstance(layer, LoraLayer):
            gradient = layer.lora_B["default"].weight.grad
            assert gradient.shape[1] == spec.rank_of(name.removeprefix(PREFIX))
            assert not gradient.any(dim=0).all() or gradient.shape[1] < 3, name


def test_layers_of_another_rank_share_no_dropped_adapter() -> None:
    spec = AdapterSpec(
        method="lora_drop",
        rank=4,
        target_modules=["q_proj", "v_proj"],
        module_ranks={"layers.1.self_attn.q_proj": 2},
    )
    adapted = attach(make_base(), spec, 1)
    outputs = dict.fromkeys(layers_of(adapted.model), 1e-3)
    outputs["model.layers.0.self_attn.v_proj"] = 1.0
    adapted.resume({"lora_drop": {"mean_squared_outputs": outputs}})
    assert {name: rank for name, (rank, _) in layers_of(adapted.model).items()}[
        "model.layers.1.self_attn.q_proj"
    ] == 2
    logits(adapted.model)


REFUSED = {
    "expression_of_nothing": (
        {"target_modules": r".*\.w[123]"},
        r"adapter.target_modules: must match layers of the model, got '.*\\.w[123]'",
    ),
    "expression_of_norms": (
        {"target_modules": r".*(q_proj|norm)"},
        "adapter.target_modules: must match linear layers alone, got '.*(q_proj|norm)', which "
        "matches model.layers.0.input_layernorm, model.layers.0.post_attention_layernorm, "
        "model.layers.1.input_layernorm, ... too",
    ),
    "expression_of_embeddings": (
        {"target_modules": "model.*(tokens|q_proj)"},
        "adapter.target_modules: must match linear layers alone, got 'model.*(tokens|q_proj)', "
        "which matches model.embed_tokens too",
    ),
    "layers_that_are_not_there": (
        {"target_modules": ["q_proj"], "layers": [7]},
        "adapter.target_modules: must match layers of the model in those of `adapter.layers`, got "
        "('q_proj',)",
    ),
    "saved_that_is_not_there": (
        {"modules_to_save": ["score"]},
        "adapter.modules_to_save: must name modules of the model, got score",
    ),
    "saved_without_weights": (
        {"modules_to_save": ["act_fn"]},
        "adapter.modules_to_save: must name modules with weights, got model.layers.0.mlp.act_fn",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_adapted_is_refused(name: str) -> None:
    fields, message = REFUSED[name]
    with pytest.raises(InputError) as caught:
        attach(make_base(), AdapterSpec(rank=2, **fields), 1)
    assert str(caught.value) == message


@pytest.mark.parametrize("saved", [["lm_head"], ["embed_tokens"], ["embed_tokens", "lm_head"]])
def test_a_weight_that_two_layers_share_is_not_trained_whole(saved: list[str]) -> None:
    with pytest.raises(InputError, match="which shares its weight with"):
        attach(make("llama_tied", "meta"), AdapterSpec(rank=2, modules_to_save=saved), 1)
