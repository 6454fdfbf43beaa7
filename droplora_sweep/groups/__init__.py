"""Resident groups: Ray Train runs that live as long as the sweep and serve trials by lease.

Exported here is what needs no Ray; `groups.manager` starts groups, `groups.pool` is where they
meet trials, `groups.client` is a trial as Ray Tune sees it.
"""

from .capacity import room_for_groups, room_for_workers
from .leases import Outcome

__all__ = ["Outcome", "room_for_groups", "room_for_workers"]
