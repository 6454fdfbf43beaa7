"""Resident groups: Ray Train runs that live as long as the sweep and serve trials by lease."""

from .capacity import room_for_groups, room_for_workers
from .client import TrialClient
from .leases import Outcome
from .manager import GroupManager
from .nodes import cluster_nodes
from .pool import HEAD_SHARE, start_pool

__all__ = [
    "HEAD_SHARE",
    "GroupManager",
    "Outcome",
    "TrialClient",
    "cluster_nodes",
    "room_for_groups",
    "room_for_workers",
    "start_pool",
]
