"""Shapes come from file headers alone; transformers' loaded model is the reference."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from transformers import AutoModelForCausalLM

from droplora_sweep.errors import InputError
from droplora_sweep.models.inspecting import inspect_model

if TYPE_CHECKING:
    from pathlib import Path


def test_shapes_are_those_of_the_loaded_model(saved_model: Path) -> None:
    summary = inspect_model(saved_model)
    loaded = AutoModelForCausalLM.from_pretrained(saved_model)
    expected = {name: tuple(p.shape) for name, p in loaded.named_parameters()}
    assert summary.shapes == expected
    assert summary.num_parameters == loaded.num_parameters()
    assert summary.architecture == "LlamaForCausalLM"
    assert summary.weight_bytes == (saved_model / "model.safetensors").stat().st_size


def test_shards_together_are_the_model(saved_model: Path, tmp_path: Path) -> None:
    loaded = AutoModelForCausalLM.from_pretrained(saved_model)
    loaded.save_pretrained(tmp_path / "sharded", max_shard_size="4KB")
    assert len(list((tmp_path / "sharded").glob("*.safetensors"))) > 1
    assert inspect_model(tmp_path / "sharded").shapes == inspect_model(saved_model).shapes


def test_files_that_the_index_does_not_name_are_not_the_model(
    saved_model: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "sharded"
    loaded = AutoModelForCausalLM.from_pretrained(saved_model)
    loaded.save_pretrained(folder, max_shard_size="4KB")
    summary = inspect_model(folder)
    (saved_model / "model.safetensors").rename(folder / "consolidated.safetensors")
    assert inspect_model(folder) == summary


def test_a_missing_shard(saved_model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "sharded"
    AutoModelForCausalLM.from_pretrained(saved_model).save_pretrained(folder, max_shard_size="4KB")
    shards = sorted(folder.glob("*.safetensors"))
    shards[1].unlink()
    with pytest.raises(InputError) as caught:
        inspect_model(folder)
    assert str(caught.value) == (
        f"model.path: lacks 1 of {len(shards)} shards, the first {shards[1].name}: {folder}"
    )


@pytest.mark.parametrize(
    "content", [b"", b"not a model", (2**40).to_bytes(8, "little"), b"\x02\0\0\0\0\0\0\0[]"]
)
def test_a_file_that_is_not_safetensors(saved_model: Path, content: bytes) -> None:
    file = saved_model / "model.safetensors"
    file.write_bytes(content)
    with pytest.raises(InputError) as caught:
        inspect_model(saved_model)
    assert str(caught.value) == f"model.path: must be a safetensors file, got {file}"


@pytest.mark.parametrize("content", ["{", "[]"])
def test_a_broken_configuration(saved_model: Path, content: str) -> None:
    (saved_model / "config.json").write_text(content)
    with pytest.raises(InputError, match=r"^model.path: must hold a .*config.json"):
        inspect_model(saved_model)


def test_a_broken_index(saved_model: Path) -> None:
    (saved_model / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {}}))
    with pytest.raises(InputError, match=r"must name its shards in weight_map"):
        inspect_model(saved_model)
