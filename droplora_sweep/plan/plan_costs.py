"""Costs of a sweep's trials on a kind of GPU, and the first setting that does not fit on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from droplora_sweep.errors import InputError
from droplora_sweep.groups.capacity import workers_per_gpu
from droplora_sweep.spec.fields import with_fields
from droplora_sweep.spec.rules.composition import (
    combinations,
)

from .costs.fitting import ways_to_fit
from .costs.memory import GIB, Memory, training_memory
from .costs.serving import with_server
from .costs.work import (
    ASSUMED_UTILISATION,
    GPUS,
    Gpu,
    gpu_hours,
    most_tokens,
    smallest_gpu,
    trial_flops,
)
from .heaviest import OF_MEMORY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from droplora_sweep.models.inspecting import ModelSummary
    from droplora_sweep.spec import Scalar, SweepSpec, TrialSpec

    from .costs.fitting import Way
    from .survey import Survey

DECISIVE = (
    *OF_MEMORY,
    "training.epochs",
    "training.global_batch_size",
    "evaluation.batch_size",
    "evaluation.max_new_tokens",
)
"""Fields that decide what a trial costs."""


@dataclass(frozen=True)
class Assumed:
    """Assumptions about the GPUs, where the cluster does not tell, and about their use.

    Attributes:
        gpu: Kind of GPU; None for the cluster's own.
        memory_bytes: Memory of a GPU; None for that of its kind.
        utilisation: Share of the peak that training reaches.
    """

    gpu: Gpu | None
    memory_bytes: int | None
    utilisation: float


NOTHING_ASSUMED: Final = Assumed(gpu=None, memory_bytes=None, utilisation=ASSUMED_UTILISATION)


@dataclass(frozen=True)
class Misfit:
    """A setting that needs more memory than a GPU has.

    Attributes:
        setting: Its searched values by dotted path; empty where nothing that counts is searched.
        memory: Memory that it needs.
        missing_bytes: Memory that it needs beyond the GPU's.
        ways: Ways in which it would fit, of every kind that its method allows.
    """

    setting: Mapping[str, Scalar]
    memory: Memory
    missing_bytes: int
    ways: tuple[Way, ...]


@dataclass(frozen=True, kw_only=True)
class Costs:
    """Upper bounds: every sequence as long as it may be, in the most expensive setting.

    Attributes:
        num_tokens: Tokens that a trial trains on.
        flops: Floating-point operations of a trial's training.
        memory: Memory of a worker, in the setting that needs most.
        gpu: Kind of GPU; None where it is not known, or on CPUs.
        gpu_bytes: A worker's share of a GPU's memory; None where it is not known, or on CPUs.
        num_sharing: Workers that share a GPU.
        misfit: The first setting that does not fit; None where all do, or memory is not known.
        impossible: The first whose weights, gradients and optimiser alone are more than a GPU has;
            likewise.
        trial_gpu_hours: GPU hours of a trial at the assumed utilisation; None where ``gpu`` is.
    """

    num_tokens: int
    flops: float
    memory: Memory
    gpu: Gpu | None
    gpu_bytes: int | None
    num_sharing: int
    misfit: Misfit | None
    impossible: Misfit | None
    trial_gpu_hours: float | None


def find_gpu(name: str | None) -> Gpu | None:
    """Return the kind of GPU that a user names, in capitals or not; None for None.

    Raises:
        InputError: It is not known.
    """
    if name is None:
        return None
    if name.upper() not in GPUS:
        problem = f"must be one of {', '.join(GPUS)}, got {name}"
        raise InputError.of("--gpu", problem)
    return GPUS[name.upper()]


def plan_costs(
    found: Survey, nodes: Sequence[Mapping[str, float]], assumed: Assumed
) -> Costs | None:
    """Return the costs of the most expensive settings; None where the model's sizes are unknown."""
    model, sweep = found.model, found.sweep
    if model is None or model.dimensions is None:
        return None
    on_gpu = sweep.group.gpus_per_worker > 0
    named = GPUS.get(sweep.group.accelerator_type or "")
    gpu = (assumed.gpu or named or smallest_gpu(nodes)) if on_gpu else None
    gpu_bytes = None
    if on_gpu:
        gpu_bytes = assumed.memory_bytes or (gpu.memory_bytes if gpu else None)
    num_sharing = workers_per_gpu(sweep.group)
    if gpu_bytes is not None:
        gpu_bytes //= num_sharing
    settings = [
        (
            setting,
            trial,
            with_server(
                training_memory(
                    model.shapes,
                    model.dimensions,
                    trial,
                    num_workers=sweep.group.num_workers,
                    on_gpu=on_gpu,
                ),
                model.dimensions,
                trial,
                gpu_bytes=gpu_bytes,
                on_gpu=on_gpu,
            ),
            trial_flops(model.shapes, model.dimensions, trial, found.num_training_examples),
            most_tokens(trial, found.num_training_examples),
        )
        for setting, trial in _settings(sweep)
    ]
    flops = max(flops for *_, flops, _ in settings)
    hours = None if gpu is None else gpu_hours(flops, gpu, assumed.utilisation)
    return Costs(
        num_tokens=max(tokens for *_, tokens in settings),
        flops=flops,
        memory=max((memory for _, _, memory, *_ in settings), key=lambda memory: memory.peak),
        gpu=gpu,
        gpu_bytes=gpu_bytes,
        num_sharing=num_sharing,
        misfit=_first_misfit(settings, model, gpu_bytes, sweep, _does_not_fit),
        impossible=_first_misfit(settings, model, gpu_bytes, sweep, _is_impossible),
        trial_gpu_hours=hours,
    )


def _settings(sweep: SweepSpec) -> Iterator[tuple[dict[str, Scalar], TrialSpec]]:
    """Yield every combination of the ends of ``DECISIVE`` fields, in the search space's order."""
    for fields in combinations(DECISIVE, sweep):
        searched = {
            path: value
            for path, value in fields.items()
            if path in sweep.search.parameters and value is not None
        }
        yield searched, with_fields(sweep.trial, fields)


def _does_not_fit(memory: Memory, gpu_bytes: int) -> bool:
    return memory.peak > gpu_bytes


def _is_impossible(memory: Memory, gpu_bytes: int) -> bool:
    # A data sheet's GB may be GiB.
    return memory.resident - memory.reserve > gpu_bytes / 1e9 * GIB


def _first_misfit(
    settings: Sequence[tuple[dict[str, Scalar], TrialSpec, Memory, float, int]],
    model: ModelSummary,
    gpu_bytes: int | None,
    sweep: SweepSpec,
    is_misfit: Callable[[Memory, int], bool],
) -> Misfit | None:
    for setting, trial, memory, *_ in settings:
        if gpu_bytes is not None and is_misfit(memory, gpu_bytes):
            assert model.dimensions is not None, "its memory was computed"
            ways = ways_to_fit(
                model.shapes,
                model.dimensions,
                trial,
                gpu_bytes,
                may_share_trial=sweep.group.gpus_per_worker == 1,
            )
            return Misfit(setting, memory, memory.peak - gpu_bytes, tuple(ways))
    return None
