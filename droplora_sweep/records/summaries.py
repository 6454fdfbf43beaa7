"""Summary of a confirmed setting: what its runs amount to, over all their seeds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from .trial import TrialRecord


@dataclass(frozen=True, kw_only=True)
class ArmSummary:
    """One arm of a confirmation.

    Attributes:
        arm: The arm's name.
        run: Its first run, which has its setting.
        num_seeds: Complete runs.
        time: Time at which the last run of the confirmation ended, UTC.
        metrics: By name, finite: ``confirmed/<benchmark>/mean`` with ``low`` and ``high``, its
            score with the 95 % interval over new seeds and examples; ``gain/<benchmark>/mean``
            with ``low`` and ``high``, the same of its difference to p = 0, which p = 0 itself
            lacks.
    """

    arm: str
    run: TrialRecord
    num_seeds: int
    time: datetime
    metrics: Mapping[str, float]
