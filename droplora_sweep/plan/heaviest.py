"""The trial of a search space that needs most memory, and what would need less."""

from __future__ import annotations

from typing import TYPE_CHECKING

from droplora_sweep.spec.fields import with_fields
from droplora_sweep.spec.rules.composition import LAYERS, MASK, METHOD, RANK, RATE, TARGETS
from droplora_sweep.spec.rules.composition import combinations as combinations_of

from .costs.memory import training_memory

if TYPE_CHECKING:
    from droplora_sweep.spec import TrialSpec

    from .costs.memory import Memory
    from .survey import Survey

OF_MEMORY = (
    METHOD,
    MASK,
    RANK,
    RATE,
    TARGETS,
    LAYERS,
    "adapter.dropout",
    "training.micro_batch_size",
    "training.max_sequence_tokens",
    "training.gradient_checkpointing",
    "training.optimizer",
)
"""Fields that decide what a training step needs."""


def heaviest_trial(found: Survey) -> TrialSpec:
    """Return the trial, of those at the ends of the space, whose training needs most memory.

    Where the model's sizes are not known it is the one of the highest rank with most sequences at
    once.

    Args:
        found: The sweep as it trains now (see ``Survey.at_search_fidelity``).
    """
    trials = [
        with_fields(found.sweep.trial, fields).with_alpha()
        for fields in combinations_of(OF_MEMORY, found.sweep)
    ]

    def weight(trial: TrialSpec) -> tuple[int, int, int]:
        memory = memory_of(found, trial)
        needed = 0 if memory is None else memory.training
        return needed, trial.training.sequences_at_once, trial.adapter.rank

    return max(trials, key=weight)


def memory_of(found: Survey, trial: TrialSpec) -> Memory | None:
    """Return what a worker needs for a trial; None where the model's sizes are not known."""
    model, group = found.model, found.sweep.group
    if model is None or model.dimensions is None:
        return None
    return training_memory(
        model.shapes,
        model.dimensions,
        trial,
        num_workers=group.num_workers,
        on_gpu=group.gpus_per_worker > 0,
    )


PARTS = (
    *("weights", "adapter", "gradients", "optimizer"),
    *("activations", "logits", "update", "reserve"),
)
NUM_HALVES = 3
"""Smaller micro-batches that are named."""


def memory_text(found: Survey, trial: TrialSpec) -> str | None:
    """Return a trial's memory by part, and that of smaller micro-batches.

    None where the model's sizes are not known.
    """
    memory = memory_of(found, trial)
    if memory is None:
        return None
    sizes = {part: int(getattr(memory, part)) for part in PARTS}
    parts = ", ".join(f"{part} {_gigabytes(size)}" for part, size in sizes.items() if size)
    smaller: list[str] = []
    size = trial.training.sequences_at_once // 2
    while size and len(smaller) < NUM_HALVES:
        training = trial.training.model_copy(update={"micro_batch_size": size})
        less = memory_of(found, trial.model_copy(update={"training": training}))
        assert less is not None
        smaller.append(f"{size} needs {_gigabytes(less.training)}")
        size //= 2
    text = f"planned are {_gigabytes(memory.training)} for each worker ({parts})"
    return f"{text}; {', '.join(smaller)}" if smaller else text


def _gigabytes(num_bytes: int) -> str:
    return f"{num_bytes / 1e9:.2f} GB"
