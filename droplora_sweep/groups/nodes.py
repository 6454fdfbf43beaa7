"""What the connected Ray cluster is made of."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray
from ray._private.state import state

if TYPE_CHECKING:
    from collections.abc import Mapping

HEAD = "node:__internal_head__"
"""Every Ray head has this resource, in the amount 1."""


def session_folder() -> list[Path]:
    """Where this node's Ray writes logs, and objects that do not fit in memory; none if far."""
    node: Any = ray._private.worker._global_node
    return [] if node is None else [Path(node.get_session_dir_path())]


def cluster_nodes() -> list[Mapping[str, float]]:
    """Total resources of each node; with an autoscaler, of each node it may ever have.

    An autoscaler adds nodes only where something waits for them, so its promise counts as room.
    """
    nodes: Any = ray.nodes()
    living = [node["Resources"] for node in nodes if node["Alive"]]
    config = state.get_cluster_config()
    if config is None or not config.node_group_configs:
        return living
    heads = [node for node in living if HEAD in node]
    return heads + [
        dict(group.resources) for group in config.node_group_configs for _ in range(group.max_count)
    ]
