"""The same look on each node of the connected cluster, by Ray tasks that are bound to nodes."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import ray
from ray.exceptions import GetTimeoutError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from droplora_sweep.groups.network import worker_environment

from .devices import PROBE_LIMIT_S, free_port, try_device
from .facts import DeviceFacts, NodeFacts, Unreached
from .looking import look

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from droplora_sweep.spec import GroupSpec

    from .facts import Asked

QUICK_LIMIT_S: Final = 90.0
LOOK_LIMIT_S: Final = 400.0
"""The limits of all steps of a look together, and the start of a process."""
TRY_LIMIT_S: Final = PROBE_LIMIT_S + 60.0
CLOCK_LIMIT_S: Final = 20.0


@dataclass(frozen=True)
class Node:
    """One node that may have workers.

    Attributes:
        node_id: Ray's.
        place: The node, for people.
        address: Its IP address.
        has_gpu: True where Ray counts a GPU there.
    """

    node_id: str
    place: str
    address: str
    has_gpu: bool


def worker_nodes() -> list[Node]:
    """Return the nodes of the connected cluster that workers may run on."""
    nodes: Any = ray.nodes()
    return [
        Node(
            node["NodeID"],
            f"{node['NodeManagerHostname']} ({node['NodeID'][:6]})",
            node["NodeManagerAddress"],
            bool(node["Resources"].get("GPU")),
        )
        for node in nodes
        if node["Alive"] and node["Resources"].get("CPU")
    ]


def look_everywhere(nodes: Sequence[Node], asked: Asked) -> list[NodeFacts | Unreached]:
    """Return the facts of each node, or the reason why there are none."""
    started = [_on(node, look, asked, node.place) for node in nodes]
    deadline_s = time.monotonic() + (QUICK_LIMIT_S if asked.is_quick else LOOK_LIMIT_S)
    found: list[NodeFacts | Unreached] = []
    for node, reference in zip(nodes, started, strict=True):
        facts = _answer(reference, deadline_s)
        if isinstance(facts, str):
            found.append(Unreached(node.place, facts))
        elif asked.is_quick:
            found.append(facts)
        else:
            found.append(replace(facts, clock_off_s=_clock_off_s(node)))
    return found


def try_everywhere(
    nodes: Sequence[Node], attention: str, group: GroupSpec, *, on_gpus: bool
) -> list[DeviceFacts]:
    """Try the devices of all nodes at once, and a sum over them.

    Args:
        nodes: Those to try.
        attention: ``model.attention``.
        group: Has the network interface that workers use.
        on_gpus: True to try a GPU of each node, which is reserved for it.
    """
    if not nodes:
        return []
    deadline_s = time.monotonic() + TRY_LIMIT_S
    port = _answer(_on(nodes[0], free_port), deadline_s)
    started = [
        _on(
            node,
            try_device,
            {
                "is_gpu": on_gpus,
                "attention": attention,
                "host": nodes[0].address,
                "port": port,
                "rank": rank,
                "world_size": len(nodes),
            },
            node.place,
            num_gpus=1 if on_gpus else 0,
            runtime_env=worker_environment(group),
        )
        for rank, node in enumerate(nodes)
    ]
    found = []
    for node, reference in zip(nodes, started, strict=True):
        facts = _answer(reference, deadline_s)
        if isinstance(facts, str):
            facts = DeviceFacts(place=node.place, problems={"torch": facts}, is_gpu=on_gpus)
        found.append(facts)
    return found


def _on(
    node: Node,
    act: Callable[..., Any],
    *arguments: Any,
    num_gpus: int = 0,
    runtime_env: Mapping[str, Any] | None = None,
) -> Any:
    """Start a task on one node; it takes no CPU from a sweep that runs there."""
    strategy = NodeAffinitySchedulingStrategy(node.node_id, soft=False)
    task = ray.remote(num_cpus=0, num_gpus=num_gpus, max_retries=0)(act)
    environment = dict(runtime_env) if runtime_env else None
    return task.options(scheduling_strategy=strategy, runtime_env=environment).remote(*arguments)


def _answer(reference: Any, deadline_s: float) -> Any:
    """Return what a task returns; the reason, a text, where it does not."""
    limit_s = max(0.0, deadline_s - time.monotonic())
    try:
        return ray.get(reference, timeout=limit_s)
    except GetTimeoutError:
        ray.cancel(reference, force=True)
        return f"no answer in time ({limit_s:.0f} s): it is frozen, or what it needs is in use"
    except RayError as error:
        said = [line.strip() for line in str(error).splitlines() if line.strip()]
        return said[-1] if said else type(error).__name__


def _clock_off_s(node: Node) -> float:
    """Return the seconds that a node's clock is off at least: below what a message takes is 0."""
    before = time.time()
    there = _answer(_on(node, _now), time.monotonic() + CLOCK_LIMIT_S)
    after = time.time()
    return 0.0 if isinstance(there, str) else clock_off_s(before, there, after)


def _now() -> float:
    """Ray takes no function of C for a task."""
    return time.time()


def clock_off_s(before: float, there: float, after: float) -> float:
    """Return by how much a clock is off at least that was read between two readings here. Pure.

    >>> clock_off_s(100.0, 103.5, 101.0)
    2.5
    >>> clock_off_s(100.0, 100.4, 101.0)
    0.0
    """
    return max(0.0, there - after) or min(0.0, there - before)
