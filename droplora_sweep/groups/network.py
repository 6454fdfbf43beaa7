"""The network interface through which the workers of a group reach each other."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from droplora_sweep.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from droplora_sweep.spec import GroupSpec

FIELD = "group.network_interface"
LOOK_S = 60.0
"""A node that cannot start one small process in this time is not asked any longer."""


def worker_environment(group: GroupSpec) -> Mapping[str, Mapping[str, str]]:
    """Return Ray's runtime environment of workers, in which gloo and NCCL use the interface.

    To NCCL a bare name is a prefix: ``eth1`` would be ``eth10`` too.
    """
    name = group.network_interface
    if name is None:
        return {}
    return {"env_vars": {"GLOO_SOCKET_IFNAME": name, "NCCL_SOCKET_IFNAME": f"={name}"}}


def interfaces() -> list[str]:
    """Return the names of this node's network interfaces."""
    return sorted(name for _, name in socket.if_nameindex())


def interface_fault(group: GroupSpec) -> InputError | None:
    """Return what is wrong where a node of the connected cluster lacks a group's interface."""
    name = group.network_interface
    if name is None:
        return None
    nodes: Any = ray.nodes()
    # A head without CPUs has no workers.
    asked = [node for node in nodes if node["Alive"] and node["Resources"].get("CPU")]
    looks = [
        ray.remote(num_cpus=0, max_retries=0)(interfaces)
        .options(scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False))
        .remote()
        for node in asked
    ]
    for node, look in zip(asked, looks, strict=True):
        try:
            found = ray.get(look, timeout=LOOK_S)
        except RayError:
            # It is lost or frozen, which the health checks see.
            continue
        if name not in found:
            problem = (
                f"must be an interface of every node, got {name}; node {node['NodeName']} has "
                f"{', '.join(found)}"
            )
            return InputError.of(FIELD, problem)
    return None
