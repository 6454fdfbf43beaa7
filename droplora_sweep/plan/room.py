"""Room for groups on the nodes that there are, or may be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from droplora_sweep.errors import InputError
from droplora_sweep.groups.capacity import (
    kinds_of_gpus,
    largest_group,
    needs_of_group,
    place_of,
    worker_needs,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from droplora_sweep.spec import GroupSpec, SweepFile

NO_GPUS_HERE = (
    "group: these nodes have no GPU and its workers need some, so room for groups was not checked; "
    "name the cluster with --address"
)


def lacks_gpus_at_all(group: GroupSpec, nodes: Sequence[Mapping[str, float]]) -> bool:
    """Return True where workers need GPUs and no node has one: the sweep is for another cluster."""
    return group.gpus_per_worker > 0 and not any(node.get("GPU") for node in nodes)


def check_capacity(
    file: SweepFile, nodes: Sequence[Mapping[str, float]], *, waited_minutes: float = 0.0
) -> None:
    """Refuse groups that the cluster can never hold.

    Args:
        file: The sweep's.
        nodes: Total resources of each node.
        waited_minutes: Minutes for which more nodes were waited for.

    Raises:
        InputError: Fewer workers fit than one group has.
    """
    fault = capacity_fault(file.sweep.group, nodes, waited_minutes=waited_minutes)
    if fault is not None:
        raise file.locate(fault)


def capacity_fault(
    group: GroupSpec, nodes: Sequence[Mapping[str, float]], *, waited_minutes: float = 0.0
) -> InputError | None:
    """Return the fault of a group that nodes cannot hold; None where they can.

    The arguments are those of `check_capacity`.
    """
    room = largest_group(group, nodes)
    if room >= group.num_workers:
        return None
    problem = (
        f"must be at most {room}, as many workers of {worker_needs(group)} as "
        f"{place_of(group)} can hold, got {group.num_workers}"
    )
    if group.accelerator_type is not None:
        kinds = ", ".join(kinds_of_gpus(nodes)) or "no type"
        problem += f"; Ray knows GPUs of {kinds} there"
    if waited_minutes:
        problem += (
            f"; no node joined in {waited_minutes:g} min (group.wait_for_nodes_minutes) that "
            "makes room: start nodes, or wait longer"
        )
    return InputError.of("group.num_workers", problem)


def waiting_note(group: GroupSpec, nodes: Sequence[Mapping[str, float]]) -> str | None:
    """Return what `run` would wait for on a cluster that may grow; None where a group fits.

    Args:
        group: Resources of a group.
        nodes: Total resources of each node.
    """
    if not group.wait_for_nodes_minutes or largest_group(group, nodes) >= group.num_workers:
        return None
    return (
        f"group: `run` would wait up to {group.wait_for_nodes_minutes:g} min for nodes to join: "
        f"{needs_of_group(group, nodes)}"
    )
