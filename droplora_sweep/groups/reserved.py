"""GPUs that a worker has reserved, among those that it sees."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import ray

from droplora_sweep.errors import InputError

if TYPE_CHECKING:
    from droplora_sweep.errors import Fault


def reserved_gpu() -> int | None:
    """Return the index, among the visible GPUs, of the one that this worker reserved.

    Ray shows all ranks on a node the GPUs of all of them, and a worker that reserved none every
    GPU of the node.

    Returns:
        None for a worker that reserved none.

    Raises:
        InputError: The GPU is hidden from this worker.
    """
    reserved = ray.get_runtime_context().get_accelerator_ids()["GPU"]
    if not reserved:
        return None
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        # Ray was told to leave it alone; it numbers GPUs as CUDA does.
        return int(reserved[0])
    if reserved[0] not in visible.split(","):
        problem = f"must have GPU {reserved[0]}, which Ray reserved for this worker, got {visible}"
        raise InputError.of("CUDA_VISIBLE_DEVICES", problem)
    return visible.split(",").index(reserved[0])


def gpu_faults() -> list[Fault]:
    """Return what is wrong with the first GPU of this node, unless it is hidden from here."""
    from droplora_sweep.training.device import gpu

    if os.environ.get("CUDA_VISIBLE_DEVICES") == "":
        return []
    try:
        gpu(0)
    except InputError as error:
        return list(error.faults)
    return []
