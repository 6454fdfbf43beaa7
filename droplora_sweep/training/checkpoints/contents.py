"""What a checkpoint's files say, written and read."""

from __future__ import annotations

import errno
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from droplora_sweep.errors import SweepError
from droplora_sweep.evaluation import ExampleResult
from droplora_sweep.publishing import verify_folder
from droplora_sweep.training.late_loss import LateLoss, Sums
from droplora_sweep.training.optimizer_state import OptimizerState
from droplora_sweep.training.position import Checkpoint, Position
from droplora_sweep.training.reporting import Report, Trained

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import torch

FORMAT = 1
STATE = "state.json"
TENSORS = ("weights", "exp_avg", "exp_avg_sq")


def checkpoint_files(
    checkpoint: Checkpoint, identity: str
) -> dict[str, bytes | Callable[[Path], None]]:
    """The files by name, with their content or what writes it.

    Args:
        checkpoint: Rank 0's.
        identity: Which trial it is of, as `read_checkpoint` will ask.
    """
    assert checkpoint.optimizer is not None, "rank 0 has the weights"
    state = {
        "format": FORMAT,
        "identity": identity,
        "num_workers": checkpoint.num_workers,
        "num_updates": checkpoint.optimizer.num_updates,
        "facts": checkpoint.facts,
        **asdict(checkpoint.position),
    }
    files: dict[str, bytes | Callable[[Path], None]] = {
        STATE: json.dumps(state, indent=1).encode() + b"\n"
    }
    for name in TENSORS:
        files[f"{name}.safetensors"] = _tensor_writer(getattr(checkpoint.optimizer, name))
    return files


def read_checkpoint(folder: Path, identity: str) -> Checkpoint:
    """A checkpoint whose every checksum is right; nothing else of it is read before.

    Raises:
        SweepError: It is damaged, not of this trial, or of another version of this format.
    """
    try:
        verify_folder(folder)
        state = json.loads((folder / STATE).read_text())
        if state["format"] != FORMAT or state["identity"] != identity:
            raise SweepError(f"{folder}: must be of this trial, got one of another")
        tensors = {name: load_file(folder / f"{name}.safetensors") for name in TENSORS}
        return Checkpoint(
            position=Position(
                step=state["step"],
                trained=Trained(**state["trained"]),
                evaluation=state["evaluation"],
                report=state["report"] and _report(state["report"]),
                # One of an older version has none.
                late_loss=LateLoss(
                    **{name: Sums(**sums) for name, sums in state.get("late_loss", {}).items()}
                ),
            ),
            facts=state["facts"],
            num_workers=state["num_workers"],
            optimizer=OptimizerState(**tensors, num_updates=state["num_updates"]),
        )
    except OSError as error:
        raise SweepError(f"{folder}: cannot read: {error.strerror}") from error
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        # Its checksums are right: somebody else has put it there.
        raise SweepError(
            f"{folder}: must be safetensors and JSON as written here: {error}"
        ) from error


def _report(saved: dict[str, Any]) -> Report:
    results = [ExampleResult(**result) for result in saved["results"]]
    return Report(**{**saved, "results": results})


def _tensor_writer(tensors: Mapping[str, torch.Tensor]) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        try:
            save_file(dict(tensors), path)
        except SafetensorError as error:
            # It hides the operating system's error, a full disk for example, in its text.
            raise OSError(errno.EIO, str(error), str(path)) from error

    return write
