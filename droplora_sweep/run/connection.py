"""Which Ray cluster a sweep runs on."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from droplora_sweep.errors import SweepError

from .local_ray import local_ray

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

LOCAL = "local"
AUTO = "auto"
ADDRESS = "RAY_ADDRESS"
"""Variable that names a cluster; `ray job submit` sets it."""
NVIDIA_DEVICES = Path("/proc/driver/nvidia/gpus")
ANSWER_TIMEOUT_S = 10.0
"""A cluster's head takes a connection within this time. What listens there but does not answer as
Ray does is given up by Ray's own client after about 40 s."""


@dataclass(frozen=True)
class RayAddress:
    """A cluster that was asked for.

    Attributes:
        address: ``local``, or what ``ray.init`` takes.
        source: Where it was read: an option, or the name of a variable.
    """

    address: str
    source: str = "--address"

    def __str__(self) -> str:
        """``10.0.0.1:6379, from RAY_ADDRESS``; the bare address where it was given."""
        return self.address if self.source != ADDRESS else f"{self.address}, from {ADDRESS}"


def resolve_address(address: str | RayAddress) -> RayAddress:
    """``auto`` becomes the cluster in RAY_ADDRESS (``ray job submit`` sets it), else ``local``."""
    if isinstance(address, RayAddress):
        return address
    if address == AUTO:
        named = os.environ.get(ADDRESS)
        return RayAddress(named, ADDRESS) if named else RayAddress(LOCAL)
    return RayAddress(address)


def local_node() -> dict[str, float]:
    """This machine's resources, as a Ray started here has them."""
    num_gpus = len(list(NVIDIA_DEVICES.iterdir())) if NVIDIA_DEVICES.is_dir() else 0
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        num_gpus = min(num_gpus, len([device for device in visible.split(",") if device.strip()]))
    return {"CPU": float(len(os.sched_getaffinity(0))), "GPU": float(num_gpus)}


@contextlib.contextmanager
def connect(address: str | RayAddress) -> Iterator[None]:
    """Join a cluster, or start one on this machine that ends with the sweep.

    Meanwhile RAY_ADDRESS names a cluster that was joined: with another Ray on the host, processes
    of Ray Train could not tell which one is theirs. A Ray that is started here has no dashboard,
    which is what they look for: they are to give up there, and not to ask another one.

    Args:
        address: ``auto``, ``local``, or what ``ray.init`` takes.

    Raises:
        SweepError: There is no cluster at the address, or none that answers in time.
    """
    cluster = resolve_address(address)
    if cluster.address == LOCAL:
        with _named(None), local_ray(local_node()):
            yield
        return
    cluster = _found(cluster)
    require_answer(cluster)
    import ray

    try:
        ray.init(address=cluster.address, logging_level=logging.WARNING)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise _no_answer(cluster, str(error)) from error
    try:
        with _named(cluster.address):
            yield
    finally:
        ray.shutdown()


def nodes_at(address: str) -> list[Mapping[str, float]]:
    """Resources of the nodes at an address, without starting a cluster.

    Raises:
        SweepError: There is no cluster at the address.
    """
    cluster = resolve_address(address)
    if cluster.address == LOCAL:
        return [local_node()]
    with connect(cluster):
        from droplora_sweep.groups.nodes import cluster_nodes

        return cluster_nodes()


def require_answer(cluster: RayAddress) -> None:
    """See that a cluster's head answers; `ray.init` alone would try again and again, for minutes.

    Raises:
        SweepError: It does not.
    """
    host, colon, port = cluster.address.rpartition(":")
    if "://" in cluster.address or not colon or not port.isdigit():
        # Ray Client has a limit of its own, and what is no address is refused at once.
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), ANSWER_TIMEOUT_S).close()
    except (OSError, OverflowError) as error:
        what = f"no connection within {ANSWER_TIMEOUT_S:.0f} s"
        reason = what if isinstance(error, TimeoutError) else str(error)
        raise _no_answer(cluster, reason) from error
    import ray
    from ray._raylet import GcsClient  # type: ignore[attr-defined]

    try:
        GcsClient(address=cluster.address)
    except ray.exceptions.RayError as error:
        reason = f"what listens there does not answer as Ray does: {error}"
        raise _no_answer(cluster, reason) from error


def _found(cluster: RayAddress) -> RayAddress:
    """``auto`` in RAY_ADDRESS as the Ray that was last started on this machine."""
    if cluster.address != AUTO:
        return cluster
    from ray._private.services import canonicalize_bootstrap_address

    try:
        return RayAddress(str(canonicalize_bootstrap_address(AUTO)), cluster.source)
    except ConnectionError as error:
        raise _no_answer(cluster, str(error)) from error


def _no_answer(cluster: RayAddress, reason: str) -> SweepError:
    said = (reason.strip() or "it gives no reason").splitlines()[0]
    remedy = "give --address another one" if cluster.source != ADDRESS else f"unset {ADDRESS}"
    return SweepError(
        f"{cluster.source}: no Ray cluster answers at {cluster.address}: {said}; {remedy}, or "
        "--address local to run on this machine"
    )


@contextlib.contextmanager
def _named(address: str | None) -> Iterator[None]:
    """Have RAY_ADDRESS name the connected cluster or none, here and in what Ray Train starts."""
    before = os.environ.pop(ADDRESS, None)
    if address is not None:
        os.environ[ADDRESS] = address
    try:
        yield
    finally:
        os.environ.pop(ADDRESS, None)
        if before is not None:
            os.environ[ADDRESS] = before
