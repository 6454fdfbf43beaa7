"""Whether a trial is behind another by more than the choice of examples explains."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .intervals import mean, mean_score
from .pairing import disagreement, mean_difference
from .trials import MEAN

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .intervals import Estimate

    Outcomes = Mapping[str, Sequence[float | None]]


def is_behind(own: Outcomes, other: Outcomes, *, subject: str) -> bool:
    """Whether the 95 % interval of a trial's difference to another lies below 0.

    It is paired by examples. Where they cannot be paired (another number of examples), the trial's
    own interval must lie below the other's, which takes more to happen.

    Args:
        own: The trial's score on each example, by benchmark, in one order for both.
        other: The other's.
        subject: A benchmark, or ``mean`` for all.

    Returns:
        False too where either has no scores.
    """
    parts = tuple(other) if subject == MEAN else (subject,)
    if not parts or own.keys() != other.keys():
        return False
    found = [disagreement(_numbered(own[part]), _numbered(other[part])) for part in parts]
    pairings = [pairing for pairing in found if pairing is not None]
    if len(pairings) == len(parts):
        return mean_difference(pairings).high < 0
    first, second = _estimate(own, parts), _estimate(other, parts)
    return first is not None and second is not None and first.high < second.low


def _numbered(scores: Sequence[float | None]) -> dict[str, float | None]:
    return {str(index): score for index, score in enumerate(scores)}


def _estimate(outcomes: Outcomes, parts: Sequence[str]) -> Estimate | None:
    known = [[one for one in outcomes[part] if one is not None] for part in parts]
    return mean([mean_score(some) for some in known]) if all(known) else None
