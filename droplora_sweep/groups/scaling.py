"""Number of groups that there should be: decisions only, which the `GroupManager` acts on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

    from .messages import Workload

MIN_GROUPS = 1
"""A sweep that runs has work again sooner or later, and one group is there for it at once."""


@dataclass(frozen=True)
class Scaling:
    """Change of the number of groups.

    Attributes:
        num_new: Groups to start that were not there before.
        num_again: Released groups to start again.
        releases: Names of groups to end until there is work for them.
    """

    num_new: int = 0
    num_again: int = 0
    releases: tuple[str, ...] = ()


def decide_scaling(
    groups: Collection[str],
    workload: Workload,
    *,
    room: int,
    num_released: int,
    release_after_s: float | None,
) -> Scaling:
    """Decide which groups to start and to release. Pure.

    Room that is new is filled before there is work for it, since a search soon has some; groups
    that were released start when work waits that the others will not take. A group that is idle is
    released after its grace alone, so that one start at most is paid for each such time.

    Args:
        groups: Names of the groups that are there, those that start or wait for nodes included.
        workload: What they have to do.
        room: Groups that the cluster has room for.
        num_released: Groups that were released and have not been started again.
        release_after_s: Grace of an idle group in seconds; None releases none.

    >>> work = Workload(num_waiting=0, num_leased=1, idle_s={"g1": 400.0, "g2": 90.0})
    >>> groups = ("g0", "g1", "g2")
    >>> decide_scaling(groups, work, room=3, num_released=0, release_after_s=300.0)
    Scaling(num_new=0, num_again=0, releases=('g1',))
    """
    needed = workload.num_leased + workload.num_waiting
    num_new = max(0, room - len(groups) - num_released)
    num_again = max(0, min(room, needed) - len(groups) - num_new)
    if num_new or num_again or release_after_s is None:
        return Scaling(num_new, num_again)
    surplus = max(0, len(groups) - max(needed, MIN_GROUPS))
    idle_s = workload.idle_s
    idle = [name for name in groups if idle_s.get(name, 0.0) >= release_after_s]
    longest_first = sorted(idle, key=lambda name: (-idle_s[name], name))
    return Scaling(releases=tuple(longest_first[:surplus]))
