"""Capacity of a cluster: groups that it has room for, and time without any; arithmetic only."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from droplora_sweep.spec import GroupSpec


def worker_capacity(group: GroupSpec, nodes: Sequence[Mapping[str, float]]) -> int:
    """Return the number of workers that fit: each needs its CPUs and GPUs on one node.

    Args:
        group: Resources of a worker.
        nodes: Total resources of each node, as Ray names them (``CPU``, ``GPU``).
    """
    needs = {"CPU": group.cpus_per_worker, "GPU": float(group.gpus_per_worker)}
    return sum(
        min(int(node.get(name, 0) // amount) for name, amount in needs.items() if amount)
        for node in nodes
    )


def group_capacity(group: GroupSpec, nodes: Sequence[Mapping[str, float]]) -> int:
    """Return the number of groups that fit, of at most ``group.max_groups``; one may span nodes."""
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
        room = worker_capacity(self._group, nodes)
        if room >= self._group.num_workers:
            self._since_s = None
            return None
        if self._since_s is None:
            self._since_s = self._said_s = now_s
        if now_s - self._said_s < NOTICE_INTERVAL_S:
            return None
        self._said_s = now_s
        return (
            f"no room for a group for {(now_s - self._since_s) / 60:.0f} min: it needs "
            f"{self._group.num_workers} workers of {worker_needs(self._group)}, the cluster can "
            f"hold {room}; waiting for nodes"
        )


def worker_needs(group: GroupSpec) -> str:
    """Return the resources of one worker: ``2 CPU and 1 GPU``."""
    gpus = f" and {group.gpus_per_worker} GPU" if group.gpus_per_worker else ""
    return f"{group.cpus_per_worker:g} CPU{gpus}"
