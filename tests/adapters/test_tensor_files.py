"""Files of large tensors: the same bytes as safetensors', from memory that is not copied."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from droplora_sweep.adapters.tensor_files import (
    SMALL_BYTES,
    Buffer,
    cpu_copies,
    state_on_cpu,
    write_tensors,
)

TINY = {
    "vocab_size": 32,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
}


def test_tensors_that_share_memory_are_written_apart_as_safetensors_writes_them(
    tmp_path: Path,
) -> None:
    whole = torch.arange(60, dtype=torch.bfloat16).view(6, 10)
    tensors = {"b": whole[2:4], "a": whole, "turned": whole.T, "none": torch.empty(0, 3)}
    write_tensors(tmp_path / "file", cpu_copies(tensors))
    expected = {name: tensor.clone().contiguous() for name, tensor in tensors.items()}
    assert (tmp_path / "file").read_bytes() == save(expected, metadata={"format": "pt"})


def anonymous_bytes() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    [line] = [line for line in lines if line.startswith("RssAnon")]
    return int(line.split()[1]) * 1024


def num_open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_large_copies_are_no_part_of_what_the_process_holds(tmp_path: Path) -> None:
    large = torch.ones(50_000_000)
    before, descriptors = anonymous_bytes(), num_open_files()
    copies = cpu_copies({"large": large, "part": large[:1000]})
    assert anonymous_bytes() - before < 20_000_000
    assert torch.equal(copies["large"], large)
    write_tensors(tmp_path / "file", copies)
    assert anonymous_bytes() - before < 20_000_000
    assert torch.equal(load_file(tmp_path / "file")["large"], large)
    del copies
    assert num_open_files() == descriptors


def test_a_folder_of_temporary_files_without_room_costs_memory_and_nothing_else(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(small_disk))
    buffer = Buffer(200 << 20)
    buffer.take(torch.Size([50_000_000]), torch.float32).fill_(1)
    assert list(small_disk.iterdir()) == []
    Buffer(SMALL_BYTES).take(torch.Size([4]), torch.float32).fill_(1)
    assert list(small_disk.iterdir()) == []


@pytest.mark.parametrize("tied", [False, True])
def test_a_model_whose_weights_lie_in_one_buffer_is_saved_as_any_other(
    tmp_path: Path, tied: bool
) -> None:
    """As in a training engine, whose partition all parameters are views of."""
    torch.manual_seed(1)
    model = LlamaForCausalLM(LlamaConfig(**TINY, tie_word_embeddings=tied))
    model.save_pretrained(tmp_path / "before")
    flat = torch.cat([weight.detach().flatten() for weight in model.parameters()])
    at = 0
    for weight in model.parameters():
        weight.data = flat[at : at + weight.numel()].view(weight.shape)
        at += weight.numel()
    state = state_on_cpu(model)
    assert all(state[name].data_ptr() == one.data_ptr() for name, one in model.named_parameters())
    storages = {one.untyped_storage().data_ptr() for one in state.values()}
    assert len(storages) == len(state) - tied
    model.save_pretrained(tmp_path / "after", state_dict=state)
    for name in ("model.safetensors", "config.json"):
        assert (tmp_path / "after" / name).read_bytes() == (tmp_path / "before" / name).read_bytes()
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "after")
    assert torch.equal(again.lm_head.weight, model.lm_head.weight)
