"""The connected Ray cluster: its nodes, and the Ray Train controllers of its groups.

A controller's workers and helpers end with it. Its placement group does not: Ray keeps it for as
long as the driver lives, and the helper that would remove it needs Ray's dashboard.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import ray
from ray.util.placement_group import PlacementGroup, remove_placement_group

from droplora_sweep import private_api

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ray.exceptions import RayActorError


NAMESPACE = "droplora-sweep"
"""Namespace of the actors that workers find by name."""
HEAD = "node:__internal_head__"
"""Every Ray head has this resource, in the amount 1."""


def cluster_nodes() -> list[Mapping[str, float]]:
    """Total resources of each node; with an autoscaler, of each node it may ever have.

    An autoscaler adds nodes only where something waits for them, so its promise counts as room.
    """
    nodes: Any = ray.nodes()
    living = [node["Resources"] for node in nodes if node["Alive"]]
    if not may_have_only_these():
        return living
    config = private_api.ray_cluster_config()
    heads = [node for node in living if HEAD in node]
    return heads + [
        dict(group.resources) for group in config.node_group_configs for _ in range(group.max_count)
    ]


def may_have_only_these() -> bool:
    """Return True where `cluster_nodes` has each node that an autoscaler may ever start."""
    config = private_api.ray_cluster_config()
    return config is not None and bool(config.node_group_configs)


_WHY = re.compile(r"is dead because (.*?)(?:\.\s|\.$|\n|$)")


def why_it_died(error: RayActorError) -> str:
    """The reason in Ray's account of an actor's death, in one line."""
    text = str(error).strip()
    found = _WHY.search(text)
    return found[1] if found else (text or type(error).__name__).splitlines()[0]


def give_back_placement_groups() -> int:
    """Remove what dead controllers of this driver still reserve; how many there were."""
    job = ray.get_runtime_context().get_job_id()
    found = 0
    for group in private_api.ray_placement_groups():
        is_of_an_actor = group.creator_actor_id not in (b"", ray.ActorID.nil().binary())
        is_left = group.creator_actor_dead and not group.is_detached
        if is_of_an_actor and is_left and group.creator_job_id.hex() == job:
            identity = ray.PlacementGroupID(group.placement_group_id)
            remove_placement_group(PlacementGroup(identity))
            found += 1
    return found
