"""Ways in which a trial that does not fit into a GPU would fit into several, or otherwise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from droplora_sweep.spec.fields import with_fields
from droplora_sweep.spec.methods import method_of

from .memory import Memory, training_memory
from .serving import with_server

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from droplora_sweep.models.inspecting import Dimensions
    from droplora_sweep.spec import Scalar, TrialSpec

STAGE: Final = "training.zero.stage"
OFFLOAD: Final = "training.zero.offload"
QUANTIZATION: Final = "model.quantization"
NUMBERS_OF_WORKERS: Final = (1, 2, 4, 8, 16, 32, 64)

_SMALLEST: Final[Mapping[str, Scalar]] = {
    "training.micro_batch_size": 1,
    "training.gradient_checkpointing": True,
    "evaluation.batch_size": 1,
}
"""Smallest batches: their part of the memory is the least."""


@dataclass(frozen=True, kw_only=True)
class Way:
    """A setting that fits.

    Attributes:
        fields: Fields to change, by dotted path; none where more workers are enough.
        num_workers: The fewest workers of a group with which it fits.
        memory: Memory of each.
    """

    fields: Mapping[str, Scalar]
    num_workers: int
    memory: Memory


def ways_to_fit(
    shapes: Mapping[str, tuple[int, ...]],
    dimensions: Dimensions,
    trial: TrialSpec,
    gpu_bytes: int,
    *,
    may_share_trial: bool = True,
) -> list[Way]:
    """Return the ways for one trial, each with the fewest GPUs.

    Where none of them fits with the trial's batches, the smallest ones are tried, with gradient
    checkpointing.

    Args:
        shapes: Name of each tensor of the base model to its shape.
        dimensions: Sizes of the same model.
        trial: The trial.
        gpu_bytes: Memory of a GPU.
        may_share_trial: False where a group can have one worker alone.
    """
    most = trial.training.global_batch_size if may_share_trial else 1
    numbers = [number for number in NUMBERS_OF_WORKERS if number <= most]
    for smallest in ({}, _SMALLEST):
        found = []
        for fields in _changes(trial):
            changed = {**fields, **smallest}
            way = _fewest(shapes, dimensions, with_fields(trial, changed), gpu_bytes, numbers)
            if way is not None:
                found.append(Way(fields=changed, num_workers=way[0], memory=way[1]))
        if found:
            return found
    return []


def _changes(trial: TrialSpec) -> Iterator[dict[str, Scalar]]:
    """Yield what the method can do about its memory, the least change first."""
    method = method_of(trial.adapter.method)
    zero, is_plain = trial.training.zero, trial.model.quantization == "none"
    yield {}
    can_split = method.no_sharding is None and not trial.adapter.modules_to_save
    is_torchs = trial.training.optimizer == "adamw"
    splits = can_split and is_plain and trial.evaluation.backend != "vllm"
    splits = splits and (method.has_rank or is_torchs)
    if splits and zero.stage == 2:
        yield {STAGE: 3}
    if zero.offload == "none" and is_torchs:
        yield {STAGE: 3, OFFLOAD: "cpu"} if splits else {OFFLOAD: "cpu"}
    if method.changes_base is None and is_plain:
        yield {STAGE: 2, QUANTIZATION: "4bit"} if zero.stage == 3 else {QUANTIZATION: "4bit"}


def _fewest(
    shapes: Mapping[str, tuple[int, ...]],
    dimensions: Dimensions,
    trial: TrialSpec,
    gpu_bytes: int,
    numbers: Sequence[int],
) -> tuple[int, Memory] | None:
    zero = trial.training.zero
    for number in numbers:
        if number == 1 and zero.stage == 3 and zero.offload == "none":
            continue
        memory = with_server(
            training_memory(shapes, dimensions, trial, num_workers=number),
            dimensions,
            trial,
            gpu_bytes=gpu_bytes,
            on_gpu=True,
        )
        if memory.peak <= gpu_bytes:
            return number, memory
    return None
