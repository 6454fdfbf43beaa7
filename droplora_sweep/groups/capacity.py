"""How many groups a cluster has room for: arithmetic on its nodes' resources."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from droplora_sweep.spec import GroupSpec


def room_for_workers(group: GroupSpec, nodes: Sequence[Mapping[str, float]]) -> int:
    """Workers that fit: each needs its CPUs and GPUs on one node.

    Args:
        group: What a worker needs.
        nodes: Total resources of each node, as Ray names them (``CPU``, ``GPU``).
    """
    needs = {"CPU": group.cpus_per_worker, "GPU": float(group.gpus_per_worker)}
    return sum(
        min(int(node.get(name, 0) // amount) for name, amount in needs.items() if amount)
        for node in nodes
    )


def room_for_groups(group: GroupSpec, nodes: Sequence[Mapping[str, float]]) -> int:
    """Groups that fit side by side, at most ``group.max_groups``; a group may span nodes."""
    room = room_for_workers(group, nodes) // group.num_workers
    return room if group.max_groups is None else min(room, group.max_groups)
