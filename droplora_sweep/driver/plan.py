"""What a sweep will take, from its file, its data and the headers of its model alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from droplora_sweep.adapters.sizes import num_trainable_parameters
from droplora_sweep.groups import room_for_groups
from droplora_sweep.spec import Range, baselines, grid_size, resolve
from droplora_sweep.tasks import split_sizes
from droplora_sweep.training.schedule import num_steps

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from droplora_sweep.spec import Scalar, SweepSpec, TrialSpec

    from .preflight import Prepared

BYTES_PER_NUMBER = {"float32": 4, "bfloat16": 2}


@dataclass(frozen=True)
class Plan:
    """What `plan` shows.

    Attributes:
        num_trials: Trials in all.
        num_settings: Different settings the space has; None where it is continuous.
        num_groups: Trials that train side by side.
        num_steps: Fewest and most optimiser steps of a trial.
        num_trainable_parameters: Fewest and most trainable parameters of a trial.
        adapter_bytes: Size of the largest adapter.
        disk_bytes: Upper bound of what all adapters take, in the storage and again in MLflow's
            artifacts, every trial at the largest size.
        splits: Examples per benchmark and split.
        queued: Raw searched values of the trials that run first.
    """

    num_trials: int
    num_settings: int | None
    num_groups: int
    num_steps: tuple[int, int]
    num_trainable_parameters: tuple[int, int]
    adapter_bytes: int
    disk_bytes: int
    splits: dict[str, dict[str, int]]
    queued: tuple[dict[str, Scalar], ...]


def make_plan(prepared: Prepared, nodes: Sequence[Mapping[str, float]]) -> Plan:
    """Work out what a sweep takes on a cluster of these nodes."""
    sweep = prepared.sweep
    num_examples = len(prepared.task.training_examples())
    corners = _corners(sweep)
    steps = [num_steps(num_examples, trial.training) for trial in corners]
    parameters = [
        num_trainable_parameters(prepared.model.shapes, trial.adapter) for trial in corners
    ]
    adapter_bytes = max(parameters) * BYTES_PER_NUMBER[sweep.model.dtype]
    settings = grid_size(sweep)
    num_trials = sweep.search.num_trials
    if settings is not None:
        num_trials = min(num_trials, settings)
    return Plan(
        num_trials=num_trials,
        num_settings=settings,
        num_groups=min(room_for_groups(sweep.group, nodes), num_trials),
        num_steps=(min(steps), max(steps)),
        num_trainable_parameters=(min(parameters), max(parameters)),
        adapter_bytes=adapter_bytes,
        disk_bytes=2 * num_trials * adapter_bytes,
        splits=split_sizes(prepared.task),
        queued=baselines(sweep) if sweep.search.queue_baselines else (),
    )


def _corners(sweep: SweepSpec) -> list[TrialSpec]:
    """Trials at the extremes of what decides size and steps, one field at a time.

    Rank, epochs and batch size each act monotonically and independently on what is planned.
    """
    first = baselines(sweep)[0]
    corners = [resolve(first, sweep)]
    for path, domain in sweep.search.parameters.items():
        if path in first and path in {
            "adapter.rank",
            "training.epochs",
            "training.global_batch_size",
        }:
            ends = (domain.min, domain.max) if isinstance(domain, Range) else domain.values
            corners += [resolve({**first, path: end}, sweep) for end in ends]
    return corners
