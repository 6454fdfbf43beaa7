"""The micro-batch that ``training.micro_batch_size: auto`` stands for."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, TypeVar

from droplora_sweep.errors import InputError
from droplora_sweep.spec import possible_values
from droplora_sweep.spec.trial import AUTO_MICRO_BATCH

from .plan_costs import NOTHING_ASSUMED, Assumed, plan_costs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .survey import Survey

    AnySurvey = TypeVar("AnySurvey", bound=Survey)

FIELD: Final = "training.micro_batch_size"
MOST: Final = 64
"""Sequences beyond which a forward pass gains nothing: matrix units are busy long before."""
ON_CPU: Final = 8
"""Sequences on CPUs, which compute few at once as fast as many."""


def is_open(found: Survey) -> bool:
    """Return True where the micro-batch is still to be chosen."""
    return found.sweep.training.micro_batch_size == AUTO_MICRO_BATCH


def with_micro_batch(
    found: AnySurvey,
    nodes: Sequence[Mapping[str, float]],
    assumed: Assumed = NOTHING_ASSUMED,
) -> AnySurvey:
    """Return a sweep with the largest micro-batch of which every setting fits into its GPUs.

    It is the largest power of two, but no larger than a worker's share of the global batch. Where
    not even one sequence fits it is one, and the plan says what is missing.

    Args:
        found: The sweep.
        nodes: Total resources of each node.
        assumed: Assumptions about its GPUs, where the nodes do not tell.

    Raises:
        InputError: The kind of GPU is not known, or the memory that the model takes.
    """
    if not is_open(found):
        return found
    sweep = found.sweep
    batches = possible_values("training.global_batch_size", sweep)
    smallest = min(size for _, size in batches if isinstance(size, int))
    share = max(1, smallest // sweep.group.num_workers)
    most = min(share, MOST if sweep.group.gpus_per_worker else ON_CPU)
    size = 1 << (most.bit_length() - 1)
    while size > 1 and not _fits(found, size, nodes, assumed):
        size //= 2
    return _with(found, size)


def _fits(found: Survey, size: int, nodes: Sequence[Mapping[str, float]], assumed: Assumed) -> bool:
    if not found.sweep.group.gpus_per_worker:
        return True
    costs = plan_costs(_with(found, size), nodes, assumed)
    if costs is None:
        problem = "must be a number for this model, since memory is counted for Llama's kind alone"
        raise found.file.locate(InputError.of(FIELD, f"{problem}, got {AUTO_MICRO_BATCH}"))
    if costs.gpu_bytes is None:
        problem = "must be a number where the kind of GPU is not known"
        remedy = "`group.accelerator_type` or `plan --gpu` names it"
        fault = InputError.of(FIELD, f"{problem}, got {AUTO_MICRO_BATCH}; {remedy}")
        raise found.file.locate(fault)
    return costs.misfit is None


def _with(found: AnySurvey, size: int) -> AnySurvey:
    training = found.sweep.training.model_copy(update={"micro_batch_size": size})
    return replace(found, sweep=found.sweep.model_copy(update={"training": training}))


def as_planned(
    found: Survey, nodes: Sequence[Mapping[str, float]], assumed: Assumed
) -> tuple[Survey, list[str]]:
    """Return the sweep with its micro-batch, and remarks; one sequence where that is not known."""
    try:
        chosen = with_micro_batch(found, nodes, assumed)
    except InputError as error:
        return found, [f"{one.field}: {one.problem}; counted as 1 here" for one in error.faults]
    return chosen, list(filter(None, [micro_batch_note(found, chosen)]))


def micro_batch_note(before: Survey, after: Survey) -> str | None:
    """Return a note on the micro-batch that was chosen; None where the file names one."""
    if not is_open(before):
        return None
    size = after.sweep.training.micro_batch_size
    return f"{FIELD}: {AUTO_MICRO_BATCH} is {size} sequences a forward pass here"
