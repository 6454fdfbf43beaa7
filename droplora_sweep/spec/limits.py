"""How many trials a search has at most."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .sampler import GridSpec
from .space import grid_size

if TYPE_CHECKING:
    from .sweep import SweepSpec

DEFAULT_NUM_TRIALS = 12


def trial_limit(sweep: SweepSpec) -> int | None:
    """Most trials of a search: as given, all points of a grid, or 12.

    None where only time ends it.
    """
    search = sweep.search
    if search.num_trials is not None:
        return search.num_trials
    if isinstance(search.sampler, GridSpec):
        return grid_size(sweep)
    return None if search.budget.limits_time else DEFAULT_NUM_TRIALS
