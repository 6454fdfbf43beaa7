"""Files of what was trained, as any PEFT or transformers loads them, without pickles.

The model card is added where the trial's scores are known, by the ledger.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from droplora_sweep.errors import SweepError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import torch
    from transformers import PreTrainedModel

    from droplora_sweep.spec.trial import ModelSpec, TrialSpec

CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"
SETTINGS_FILE = "droplora.json"

PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
"""Endings of files that can run code when they are loaded."""


def save_adapter(
    folder: Path,
    *,
    config: Mapping[str, Any],
    weights: Mapping[str, torch.Tensor],
    trial: TrialSpec,
    facts: Mapping[str, Any],
) -> None:
    """Write an adapter's files.

    The same weights and trial give the same bytes. Weights are saved as they were evaluated: in
    the base model's precision, not as the optimiser's fp32 master copies, so that a loaded
    adapter reproduces the scores that were logged for it.

    Args:
        folder: Exists.
        config: The adapter's PEFT configuration.
        weights: Its weights by PEFT's names; on any device, possibly shared with each other.
        trial: The trial, for ``droplora.json``.
        facts: Decisions of its training, also for ``droplora.json``.

    Raises:
        OSError: The file system refuses.
    """
    # They load torch, which the names of an adapter's files can do without.
    from .tensor_files import cpu_copies, write_tensors

    (folder / CONFIG_FILE).write_bytes(json_file(_adapter_config(config, trial.model)))
    write_tensors(folder / WEIGHTS_FILE, cpu_copies(weights))
    (folder / SETTINGS_FILE).write_bytes(_settings(trial, facts))


def save_full_model(
    folder: Path,
    model: PreTrainedModel,
    trial: TrialSpec,
    facts: Mapping[str, Any],
    weights: Mapping[str, torch.Tensor] | None = None,
) -> None:
    """Write a whole model: config.json and shards of at most 5 GB.

    Args:
        folder: Exists.
        model: The model.
        trial: The trial, for ``droplora.json``.
        facts: Decisions of its training, also for ``droplora.json``.
        weights: Its state by name, on the CPU, where it is not in the model.

    Raises:
        OSError: The file system refuses.
    """
    from .tensor_files import apart, state_on_cpu, tensor_faults_named

    state = state_on_cpu(model) if weights is None else apart(weights)
    with tensor_faults_named(folder):
        model.save_pretrained(folder, state_dict=state, max_shard_size="5GB")
    (folder / SETTINGS_FILE).write_bytes(_settings(trial, facts))


def require_safetensors(folder: Path) -> None:
    """Refuse an adapter that PEFT would have to unpickle, or that comes with pickles.

    Raises:
        SweepError: Naming the file.
    """
    for file in sorted(folder.rglob("*")):
        if file.suffix.lower() in PICKLES:
            raise SweepError(f"{file}: must not be a pickle, which can run code when it is loaded")
    if not (folder / WEIGHTS_FILE).is_file():
        raise SweepError(f"{folder}: must hold {WEIGHTS_FILE}")


def _settings(trial: TrialSpec, facts: Mapping[str, Any]) -> bytes:
    return json_file({"trial": trial.model_dump(mode="json"), **facts})


def json_file(value: Mapping[str, Any]) -> bytes:
    """Return the content of a JSON file; equal values give the same bytes."""
    return (json.dumps(value, indent=2, sort_keys=True) + "\n").encode()


def _adapter_config(config: Mapping[str, Any], model: ModelSpec) -> dict[str, Any]:
    saved = {
        **config,
        "base_model_name_or_path": model.path,
        "revision": model.revision,
        "inference_mode": True,
    }
    # Sets have no stable order across processes; the same adapter must give the same bytes.
    return {
        name: sorted(value) if isinstance(value, set) else value for name, value in saved.items()
    }
