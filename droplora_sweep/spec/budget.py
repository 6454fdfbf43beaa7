"""What a search may take beside its number of trials."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from .base import Positive, SpecModel


class BudgetSpec(SpecModel):
    """Limits of a search beside its number of trials.

    Once one is reached no trial is started any more; those that run go on to their ends, so that
    what they took is not lost, and the sweep is complete. Raise the limit to go on with it.
    """

    gpu_hours: Positive | None = None
    """Hours of all trials so far times the GPUs (on CPU: workers) of a group."""
    wall_clock_hours: Positive | None = None
    """Hours that drivers worked on the sweep so far, those before a resume included, the time
    between them not; checked before each trial of the search, not in its confirmation."""
    target_score: Annotated[float, Field(ge=0, le=1)] | None = None
    """Value of ``search.metric`` that is enough, as a fraction; reached by a complete trial."""

    @property
    def limits_time(self) -> bool:
        """Whether a search without a number of trials ends."""
        return self.gpu_hours is not None or self.wall_clock_hours is not None
