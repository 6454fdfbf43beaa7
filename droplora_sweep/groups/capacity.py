"""Capacity of a cluster: groups that it has room for, and time without any; arithmetic only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from droplora_sweep.spec import GroupSpec


ACCELERATOR: Final = "accelerator_type:"
"""A node with a GPU has a resource of this name and its type (Ray's ``util.accelerators``)."""


def worker_capacity(group: GroupSpec, nodes: Sequence[Mapping[str, float]]) -> int:
    """Return the number of workers that fit: each needs its CPUs and GPUs on one node.

    Args:
        group: Resources of a worker.
        nodes: Total resources of each node, as Ray names them (``CPU``, ``GPU``).
    """
    return sum(_workers_on(group, node) for node in nodes)


def _workers_on(group: GroupSpec, node: Mapping[str, float]) -> int:
    if group.accelerator_type and not node.get(f"{ACCELERATOR}{group.accelerator_type}"):
        return 0
    room = int(node.get("CPU", 0) // group.cpus_per_worker)
    if group.gpus_per_worker:
        # A worker's share is of one GPU.
        room = min(room, int(node.get("GPU", 0)) * workers_per_gpu(group))
    return room


def workers_per_gpu(group: GroupSpec) -> int:
    """Return the number of workers that share a GPU, each of a group of its own; 1 on CPUs."""
    # 1 / 0.1 is 10 and 1 // 0.1 is 9; Ray counts GPUs in ten-thousandths.
    return int(1 / group.gpus_per_worker + 1e-4) if group.gpus_per_worker else 1


def largest_group(group: GroupSpec, nodes: Sequence[Mapping[str, float]]) -> int:
    """Return the most workers that a group could have: all on one node where it must be."""
    rooms = [_workers_on(group, node) for node in nodes]
    return max(rooms, default=0) if group.placement == "strict_pack" else sum(rooms)


def group_capacity(group: GroupSpec, nodes: Sequence[Mapping[str, float]]) -> int:
    """Return the number of groups that fit, of at most ``group.max_groups``.

    One may span nodes, unless all its workers are to be on one.
    """
    if group.placement == "strict_pack":
        room = sum(_workers_on(group, node) // group.num_workers for node in nodes)
    else:
        room = worker_capacity(group, nodes) // group.num_workers
    return room if group.max_groups is None else min(room, group.max_groups)


def idle_gpus(group: GroupSpec, nodes: Sequence[Mapping[str, float]]) -> str | None:
    """Return what to tell the user of GPUs that no worker reserves; None where there are none.

    Args:
        group: Resources of a worker.
        nodes: As `worker_capacity` takes them.
    """
    num_gpus = int(sum(node.get("GPU", 0) for node in nodes))
    if group.gpus_per_worker or not num_gpus:
        return None
    gpus = "1 GPU stays" if num_gpus == 1 else f"{num_gpus} GPUs stay"
    return f"note: {gpus} idle, since `group.gpus_per_worker` is 0, which trains on CPUs"


NOTICE_INTERVAL_S = 60.0
"""Nodes that are replaced are back within it; the user hears of those that are not."""


class RoomNotice:
    """Notice, now and then, that the nodes on which the groups ran are gone.

    Args:
        group: Resources of one group.
    """

    def __init__(self, group: GroupSpec) -> None:
        self._group = group
        self._since_s: float | None = None
        self._said_s = 0.0

    def after(self, nodes: Sequence[Mapping[str, float]], now_s: float) -> str | None:
        """Return what to tell the user now, at most once per ``NOTICE_INTERVAL_S``; else None.

        Args:
            nodes: As `worker_capacity` takes them.
            now_s: Seconds of a monotonic clock.
        """
        if group_capacity(self._group, nodes):
            self._since_s = None
            return None
        if self._since_s is None:
            self._since_s = self._said_s = now_s
        if now_s - self._said_s < NOTICE_INTERVAL_S:
            return None
        self._said_s = now_s
        return (
            f"no room for a group for {(now_s - self._since_s) / 60:.0f} min: it needs "
            f"{all_needs(self._group)}, "
            f"{place_of(self._group)} can hold {largest_group(self._group, nodes)}; waiting for "
            "nodes"
        )


def all_needs(group: GroupSpec) -> str:
    """Return the resources of a group: ``2 workers of 1 CPU``."""
    plural = "s" * (group.num_workers != 1)
    return f"{group.num_workers} worker{plural} of {worker_needs(group)}"


def worker_needs(group: GroupSpec) -> str:
    """Return the resources of one worker: ``2 CPU and 1 GPU``."""
    kind = f" of type {group.accelerator_type}" if group.accelerator_type else ""
    gpus = f" and {group.gpus_per_worker:g} GPU" if group.gpus_per_worker else ""
    return f"{group.cpus_per_worker:g} CPU{gpus}{kind}"


def needs_of_group(group: GroupSpec, nodes: Sequence[Mapping[str, float]]) -> str:
    """Return what a group needs, and what there is of it.

    Args:
        group: Resources of a group.
        nodes: As `worker_capacity` takes them.
    """
    return (
        f"a group needs {all_needs(group)}, {place_of(group)} can hold "
        f"{largest_group(group, nodes)} so far"
    )


def place_of(group: GroupSpec) -> str:
    """Return what has to hold all workers of a group."""
    return "one node" if group.placement == "strict_pack" else "the cluster"


def kinds_of_gpus(nodes: Sequence[Mapping[str, float]]) -> list[str]:
    """Return the types of GPUs that Ray knows."""
    names = {name for node in nodes for name in node if name.startswith(ACCELERATOR)}
    return sorted(name.removeprefix(ACCELERATOR) for name in names)
