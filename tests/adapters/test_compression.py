"""A truncated adapter is the best of its rank, and still a plain PEFT adapter."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load, save

from droplora_sweep.adapters.compression import FactoredAdapter, num_parameters
from droplora_sweep.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from transformers import LlamaForCausalLM

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
RANK = 6


def read(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def write(files: dict[str, bytes], folder: Path) -> Path:
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture
def make_adapter(base: LlamaForCausalLM, tmp_path: Path):
    """Saves an adapter with random A and B as PEFT does, and returns its files."""

    def make(**settings: Any) -> dict[str, bytes]:
        config = {"r": RANK, "lora_alpha": 9, "target_modules": ["q_proj", "v_proj", "down_proj"]}
        adapted = get_peft_model(
            base, LoraConfig(**{**config, **settings}), autocast_adapter_dtype=False
        )
        generator = torch.Generator().manual_seed(1)
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                random = torch.randn(parameter.shape, generator=generator)
                parameter.data.copy_(random)
        adapted.save_pretrained(tmp_path / "saved")
        adapted.unload()
        return read(tmp_path / "saved")

    return make


def updates(base: LlamaForCausalLM, files: dict[str, bytes], folder: Path):
    """Every layer's update in full, in float64 as PEFT makes it, and the logits with it."""
    adapted = PeftModel.from_pretrained(
        base, write(files, folder), autocast_adapter_dtype=False
    ).eval()
    found = {}
    for name, module in adapted.named_modules():
        if hasattr(module, "lora_A"):
            B, A = module.lora_B["default"].weight, module.lora_A["default"].weight
            found[name] = module.scaling["default"] * (B.double() @ A.double()).detach()
    with torch.no_grad():
        logits = adapted(torch.arange(20).view(2, 10)).logits
    adapted.unload()
    return found, logits


def best(update: torch.Tensor, rank: int) -> torch.Tensor:
    """The best approximation of a rank, from the SVD of the full matrix."""
    U, S, V = torch.linalg.svd(update, full_matrices=False)
    return U[:, :rank] @ torch.diag(S[:rank]) @ V[:rank]


SETTINGS = {
    "plain": {},
    "rslora": {"use_rslora": True},
    "patterns": {"rank_pattern": {"v_proj": 2}, "alpha_pattern": {"layers.1.self_attn.q_proj": 3}},
    "rslora with patterns": {"use_rslora": True, "rank_pattern": {r".*0.*q_proj": 4}},
}


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_it_is_the_best_approximation_of_its_rank_at_the_same_scaling(
    base, make_adapter, tmp_path, settings
) -> None:
    files = make_adapter(**settings)
    adapter = FactoredAdapter(files)
    whole, _ = updates(base, files, tmp_path / "whole")
    for rank in (1, 3, 5):
        truncated, _ = updates(base, adapter.truncated(rank), tmp_path / f"rank-{rank}")
        dropped = total = 0.0
        for name, update in whole.items():
            expected = best(update, rank)
            torch.testing.assert_close(truncated[name], expected, rtol=1e-5, atol=1e-6)
            dropped += float((update - expected).square().sum())
            total += float(update.square().sum())
        assert adapter.relative_error(rank) == pytest.approx(math.sqrt(dropped / total), rel=1e-9)


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_at_its_own_rank_nothing_is_lost(base, make_adapter, tmp_path, settings) -> None:
    files = make_adapter(**settings)
    adapter = FactoredAdapter(files)
    assert adapter.rank == RANK
    assert adapter.relative_error(RANK) == 0.0
    whole, logits = updates(base, files, tmp_path / "whole")
    same, same_logits = updates(base, adapter.truncated(RANK), tmp_path / "same")
    for name, update in whole.items():
        torch.testing.assert_close(same[name], update, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(same_logits, logits, rtol=0, atol=1e-5)


def test_an_update_of_lower_rank_than_its_factors_loses_nothing(
    base, make_adapter, tmp_path
) -> None:
    """As PiSSA's, which is saved at twice the rank it was trained at."""
    files = make_adapter()
    weights = load(files[WEIGHTS])
    doubled = {
        name: torch.cat([tensor / 2, tensor / 2], dim=0 if "lora_A" in name else 1)
        for name, tensor in weights.items()
    }
    config = {**json.loads(files[CONFIG]), "r": 2 * RANK, "lora_alpha": 36}
    adapter = FactoredAdapter({CONFIG: json.dumps(config).encode(), WEIGHTS: save(doubled)})
    assert adapter.rank == 2 * RANK
    assert adapter.relative_error(RANK) < 1e-7
    assert adapter.relative_error(RANK - 1) > 0.01
    whole, logits = updates(base, files, tmp_path / "whole")
    halved, halved_logits = updates(base, adapter.truncated(RANK), tmp_path / "halved")
    for name, update in whole.items():
        torch.testing.assert_close(halved[name], update, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(halved_logits, logits, rtol=0, atol=1e-5)


def test_a_rank_above_a_layer_s_width_is_filled_with_zeros(base, make_adapter, tmp_path) -> None:
    files = make_adapter(r=40, target_modules=["v_proj"])
    adapter = FactoredAdapter(files)
    whole, _ = updates(base, files, tmp_path / "whole")
    truncated, _ = updates(base, adapter.truncated(39), tmp_path / "truncated")
    for name, update in whole.items():
        torch.testing.assert_close(truncated[name], update, rtol=1e-5, atol=1e-5)


def test_bfloat16_is_written_as_it_came_and_cut_in_float64(base, make_adapter, tmp_path) -> None:
    base.to(torch.bfloat16)
    files = make_adapter()
    adapter = FactoredAdapter(files)
    files_of_3 = adapter.truncated(3)
    assert {tensor.dtype for tensor in load(files_of_3[WEIGHTS]).values()} == {torch.bfloat16}
    whole, _ = updates(base, files, tmp_path / "whole")
    truncated, _ = updates(base, files_of_3, tmp_path / "truncated")
    for name, update in whole.items():
        # Two factors, each rounded to 8 bits.
        error = (truncated[name] - best(update, 3)).norm() / update.norm()
        assert error < 2 * 2**-8


def test_an_adapter_that_changes_nothing_has_no_error(make_adapter) -> None:
    files = make_adapter()
    zeros = {name: torch.zeros_like(tensor) for name, tensor in load(files[WEIGHTS]).items()}
    adapter = FactoredAdapter({**files, WEIGHTS: save(zeros)})
    assert adapter.relative_error(1) == 0.0
    assert not any(tensor.any() for tensor in load(adapter.truncated(1)[WEIGHTS]).values())


def test_the_files_tell_what_was_done(make_adapter) -> None:
    files = make_adapter(use_rslora=True)
    card = b"---\ntags: [lora]\n---\n\n# t0003 of the sweep demo\n\nLoRA.\n"
    trial = json.dumps({"trial": {"seed": 3}}).encode()
    adapter = FactoredAdapter({**files, "README.md": card, "droplora.json": trial})
    truncated = adapter.truncated(2)
    assert set(truncated) == {CONFIG, WEIGHTS, "README.md", "droplora.json"}
    error = adapter.relative_error(2)
    assert truncated["README.md"].decode() == (
        "---\ntags: [lora]\n---\n\n# t0003 of the sweep demo\n\n"
        f"Truncated after training to rank 2 from rank 6, by SVD of the update (relative error "
        f"{error:.4f}). Scores and settings below are those of the adapter of rank 6.\n\n"
        "LoRA.\n"
    )
    assert json.loads(truncated["droplora.json"]) == {
        "trial": {"seed": 3},
        "compressed": {"from_rank": 6, "rank": 2, "relative_error": error},
    }
    old, new = json.loads(files[CONFIG]), json.loads(truncated[CONFIG])
    changed = {name for name in old if old[name] != new[name]}
    assert changed == {"r", "lora_alpha"}
    assert new["lora_alpha"] / math.sqrt(2) == pytest.approx(9 / math.sqrt(6), rel=1e-12)
    assert num_parameters(truncated) * 3 == num_parameters(files)


def test_a_narrow_layer_keeps_its_rank(make_adapter) -> None:
    adapter = FactoredAdapter(make_adapter(rank_pattern={"v_proj": 2}))
    config = json.loads(adapter.truncated(3)[CONFIG])
    assert config["rank_pattern"] == {
        f"model.layers.{layer}.self_attn.v_proj": 2 for layer in (0, 1)
    }
    assert json.loads(adapter.truncated(2)[CONFIG])["rank_pattern"] == {}


@pytest.mark.parametrize("rank", [-1, 0, RANK + 1])
def test_a_rank_it_cannot_have_is_refused(make_adapter, rank) -> None:
    adapter = FactoredAdapter(make_adapter())
    complaint = f"rank: must be from 1 to 6, the adapter's own, got {rank}"
    for use in (adapter.truncated, adapter.relative_error):
        with pytest.raises(InputError) as caught:
            use(rank)
        assert str(caught.value) == complaint


def refusal(files: dict[str, bytes]) -> str:
    with pytest.raises(InputError) as caught:
        FactoredAdapter(files)
    return str(caught.value)


def test_dora_is_refused(make_adapter) -> None:
    assert refusal(make_adapter(use_dora=True)) == (
        "adapter: must not be DoRA: its norm belongs to the weight with the whole update, "
        "got `use_dora: true`"
    )


def test_a_full_model_is_refused() -> None:
    assert refusal({"config.json": b"{}", "model.safetensors": b""}) == (
        f"adapter: must hold {CONFIG} and {WEIGHTS}, as a LoRA adapter does"
    )


def test_another_kind_of_adapter_is_refused(make_adapter) -> None:
    files = make_adapter()
    config = {**json.loads(files[CONFIG]), "peft_type": "VERA"}
    files[CONFIG] = json.dumps(config).encode()
    assert refusal(files) == "adapter: must be LoRA, got `peft_type: VERA`"


@pytest.mark.parametrize(
    ("settings", "got"),
    [
        ({"lora_bias": True}, "base_model.model.model.layers.0.self_attn.q_proj.lora_B.bias"),
        ({"target_modules": ["embed_tokens", "q_proj"]}, "embed_tokens.lora_embedding_A"),
    ],
)
def test_what_is_more_than_factors_of_linear_layers_is_refused(make_adapter, settings, got) -> None:
    problem = refusal(make_adapter(**settings))
    assert problem.startswith("adapter: must hold factors A and B of linear layers alone, got ")
    assert got in problem
    assert "\n" not in problem
