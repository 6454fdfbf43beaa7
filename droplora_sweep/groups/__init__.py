"""Resident groups: Ray Train runs that live as long as the sweep and serve trials by lease.

Exported here is what needs no Ray; `groups.manager` starts groups, `groups.pool` is where they
meet trials, `groups.client` is a trial as Ray Tune sees it.
"""

from .capacity import room_for_groups, room_for_workers, worker_needs
from .messages import Adjustment, Outcome

__all__ = ["Adjustment", "Outcome", "room_for_groups", "room_for_workers", "worker_needs"]
