"""Nodes that are still to join a cluster, waited for before a sweep starts."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Final

from ray.util.placement_group import placement_group, remove_placement_group

from .capacity import ACCELERATOR, RoomNotice, largest_group, needs_of_group
from .cluster import cluster_nodes, may_have_only_these

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from droplora_sweep.spec import GroupSpec

LOOK_S: Final = 1.0
"""Nodes are counted this often."""
SMALLEST_SHARE: Final = 0.001
"""Of a node's accelerator type, which only names the node; as Ray itself asks for it."""


def wait_for_nodes(
    group: GroupSpec, say: Callable[[str], None]
) -> tuple[list[Mapping[str, float]], float]:
    """Wait until the connected cluster can hold a group, for ``group.wait_for_nodes_minutes``.

    An autoscaler that Ray knows the limits of is not waited for: what it may ever start is known.
    Any other is shown what a group needs, by a placement group that is removed in the end.

    Args:
        group: Resources of a group.
        say: Shows the user one line.

    Returns:
        The nodes, as `cluster_nodes` gives them, and the minutes that were waited in vain: 0 where
        a group fits.
    """
    nodes = cluster_nodes()
    limit_s = group.wait_for_nodes_minutes * 60
    if _fits(group, nodes) or not limit_s or may_have_only_these():
        return nodes, 0.0
    say(
        f"waiting up to {group.wait_for_nodes_minutes:g} min for nodes to join: "
        f"{needs_of_group(group, nodes)}"
    )
    notice, begun_s = RoomNotice(group), time.monotonic()
    with _demand(group):
        while not _fits(group, nodes):
            waited_s = time.monotonic() - begun_s
            if (line := notice.after(nodes, waited_s)) is not None:
                say(line)
            if waited_s >= limit_s:
                return nodes, group.wait_for_nodes_minutes
            time.sleep(LOOK_S)
            nodes = cluster_nodes()
    say(f"room for a group after {time.monotonic() - begun_s:.0f} s")
    return nodes, 0.0


def _fits(group: GroupSpec, nodes: Sequence[Mapping[str, float]]) -> bool:
    return largest_group(group, nodes) >= group.num_workers


@contextlib.contextmanager
def _demand(group: GroupSpec) -> Iterator[None]:
    """Ask for what a group needs, so that an autoscaler starts nodes for it."""
    worker: dict[str, float] = {"CPU": group.cpus_per_worker}
    if group.gpus_per_worker:
        worker["GPU"] = group.gpus_per_worker
    if group.accelerator_type is not None:
        worker[f"{ACCELERATOR}{group.accelerator_type}"] = SMALLEST_SHARE
    bundles = [dict(worker) for _ in range(group.num_workers)]
    asked = placement_group(bundles, strategy=group.placement.upper())
    try:
        yield
    finally:
        remove_placement_group(asked)
