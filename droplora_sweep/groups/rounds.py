"""The driver's rounds through its groups: the frozen are ended, the lost give their trials back.

Missing nodes are told of.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

import ray
from ray.exceptions import RayError

from .capacity import RoomNotice
from .pool import ask
from .processes import kill, start_on_their_nodes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ray.actor import ActorHandle

    from droplora_sweep.spec import GroupSpec

    from .processes import Worker

logger = logging.getLogger(__name__)

KILL_TIMEOUT_S = 60.0
"""A node that cannot start one small process in this time is as frozen as the group."""


class Rounds:
    """What is done every few seconds.

    Args:
        group: What a group is.
        pool: Where groups show their progress.
        say: Shows the user one line.
    """

    def __init__(
        self, group: GroupSpec, pool: ActorHandle[Any], say: Callable[[str], None]
    ) -> None:
        self._pool = pool
        self._say = say
        self._notice = RoomNotice(group)

    def make(self, nodes: Sequence[Mapping[str, float]]) -> None:
        """Go round once.

        Args:
            nodes: Total resources of each node.
        """
        if (notice := self._notice.after(nodes, time.monotonic())) is not None:
            self._say(notice)
        self._lose_with_their_nodes()
        silent = ask(self._pool, "silent")
        for name, (reason, workers) in silent.items():
            self._say(f"group {name} is ended and started again: {reason}")
            if self._end(workers):
                ask(self._pool, "lose", name)

    def _lose_with_their_nodes(self) -> None:
        """Take the trials of groups whose node is gone; they may never find another node."""
        living = _living_nodes()
        present = ask(self._pool, "nodes")
        for name, nodes in present.items():
            if nodes - living:
                self._say(f"group {name} has lost a node; its trial goes on from its checkpoint")
                ask(self._pool, "lose", name)

    def _end(self, workers: Sequence[Worker]) -> bool:
        """Whether no process of a group is left; Ray Train starts new ones when it notices."""
        if not workers:
            return True
        ends = start_on_their_nodes(kill, workers)
        ready, late = ray.wait(ends, num_returns=len(ends), timeout=KILL_TIMEOUT_S)
        failed = list(late)
        for end in ready:
            try:
                ray.get(end)
            except RayError as error:
                logger.warning("cannot end a silent group's processes on its node: %s", error)
                failed.append(end)
        return not failed or not _living_nodes() & {worker.node for worker in workers}


def _living_nodes() -> set[str]:
    nodes: Any = ray.nodes()
    return {node["NodeID"] for node in nodes if node["Alive"]}
