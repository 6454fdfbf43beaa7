"""Which Ray cluster a sweep runs on."""

from __future__ import annotations

import contextlib
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

from droplora_sweep.errors import SweepError

from .local_ray import local_ray

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

LOCAL = "local"
AUTO = "auto"
NVIDIA_DEVICES = Path("/proc/driver/nvidia/gpus")


def resolve_address(address: str) -> str:
    """``auto`` becomes the cluster in RAY_ADDRESS (``ray job submit`` sets it), else ``local``."""
    if address == AUTO:
        return os.environ.get("RAY_ADDRESS") or LOCAL
    return address


def local_node() -> dict[str, float]:
    """This machine's resources, as a Ray started here has them."""
    num_gpus = len(list(NVIDIA_DEVICES.iterdir())) if NVIDIA_DEVICES.is_dir() else 0
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        num_gpus = min(num_gpus, len([device for device in visible.split(",") if device.strip()]))
    return {"CPU": float(len(os.sched_getaffinity(0))), "GPU": float(num_gpus)}


@contextlib.contextmanager
def connect(address: str) -> Iterator[None]:
    """Join a cluster, or start one on this machine that ends with the sweep.

    Args:
        address: ``local``, or what ``ray.init`` takes.

    Raises:
        SweepError: There is no cluster at the address.
    """
    if address == LOCAL:
        with local_ray(local_node()):
            yield
        return
    import ray

    try:
        ray.init(address=address, logging_level=logging.WARNING)
    except (ConnectionError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise SweepError(f"--address: no Ray cluster answers at {address}: {reason}") from error
    try:
        yield
    finally:
        ray.shutdown()


def nodes_at(address: str) -> list[Mapping[str, float]]:
    """Resources of the nodes at an address, without starting a cluster.

    Raises:
        SweepError: There is no cluster at the address.
    """
    address = resolve_address(address)
    if address == LOCAL:
        return [local_node()]
    with connect(address):
        from droplora_sweep.groups.nodes import cluster_nodes

        return cluster_nodes()
