"""When a checkpoint is due; pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from droplora_sweep.spec import CheckpointSpec

_SECONDS_PER_MINUTE = 60.0


def is_due(spec: CheckpointSpec, num_steps: int, seconds: float) -> bool:
    """Whether one is due, this many steps and seconds after the last one or the trial's start."""
    by_steps = spec.every_steps is not None and num_steps >= spec.every_steps
    minutes = seconds / _SECONDS_PER_MINUTE
    return by_steps or (spec.every_minutes is not None and minutes >= spec.every_minutes)
