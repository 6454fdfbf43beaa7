"""Every model path that cannot be used is refused in one line, before anything is loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from droplora_sweep.errors import InputError
from droplora_sweep.models.resolving import is_on_this_machine, resolve_model
from droplora_sweep.spec.trial import ModelSpec

if TYPE_CHECKING:
    from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def refusal(path: object, revision: str | None = None) -> str:
    with pytest.raises(InputError) as caught:
        resolve_model(ModelSpec(path=str(path), revision=revision))
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_folder(saved_model: Path) -> None:
    resolved = resolve_model(ModelSpec(path=str(saved_model)))
    assert resolved == saved_model


def test_a_missing_folder(tmp_path: Path) -> None:
    missing = tmp_path / "nowhere"
    assert refusal(missing) == f"model.path: must be builtin, a folder or a Hub id, got {missing}"


def test_a_file(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    file.touch()
    assert refusal(file) == f"model.path: must be a folder, got the file {file}"


def test_a_hub_id_without_its_commit() -> None:
    assert refusal("org/name") == (
        "model.path: no such folder; a Hub id also needs model.revision, got org/name"
    )


def test_a_hub_id_without_its_commit_is_not_here() -> None:
    """A plan then has the published sizes, and a run refuses it."""
    assert not is_on_this_machine(ModelSpec(path="meta-llama/Llama-2-7b-hf"))
    assert not is_on_this_machine(ModelSpec(path="meta-llama/Llama-2-7b-hf", revision="main"))


def test_a_hub_id_with_a_branch() -> None:
    assert refusal("org/name", "main") == (
        "model.revision: must be a commit of 40 hex digits, got main"
    )


def test_a_hub_that_cannot_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    # What HF_HUB_OFFLINE=1 does; the client reads that variable once, on import.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert refusal("org/never-downloaded", COMMIT) == (
        "model.path: no such folder, and the Hub cannot be reached for "
        "org/never-downloaded at 0123456789ab"
    )


def test_a_hub_model_downloaded_before_needs_no_network(
    saved_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Laid out as the Hub's client caches it."""
    snapshots = tmp_path / "hub" / "models--org--name" / "snapshots"
    snapshots.mkdir(parents=True)
    saved_model.rename(snapshots / COMMIT)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    resolved = resolve_model(ModelSpec(path="org/name", revision=COMMIT))
    assert resolved.samefile(snapshots / COMMIT)


def test_a_folder_without_a_configuration(saved_model: Path) -> None:
    (saved_model / "config.json").unlink()
    assert refusal(saved_model) == f"model.path: must hold config.json, got {saved_model}"


def test_a_folder_without_weights(saved_model: Path) -> None:
    (saved_model / "model.safetensors").unlink()
    assert refusal(saved_model) == (
        f"model.path: must hold *.safetensors weights, got {saved_model}"
    )


def test_pickled_weights(saved_model: Path) -> None:
    (saved_model / "model.safetensors").unlink()
    torch.save({}, saved_model / "pytorch_model.bin")
    assert refusal(saved_model) == (
        f"model.path: must hold *.safetensors weights, got {saved_model}; "
        "pytorch_model.bin is a pickle, which can run code"
    )


def test_a_folder_without_a_tokenizer(saved_model: Path) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (saved_model / name).unlink()
    assert refusal(saved_model) == (
        f"model.path: must hold a tokenizer (tokenizer.json), got {saved_model}"
    )
