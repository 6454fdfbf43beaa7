"""All advice on a sweep, in the order of its file's sections."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .evidence import evidence_advice
from .learning_rate import learning_rate_advice
from .space import space_advice
from .training import training_advice

if TYPE_CHECKING:
    from droplora_sweep.plan.survey import Survey

    from .line import Advice


def advice_on(found: Survey) -> tuple[Advice, ...]:
    """Return what is odd in a sweep that has no fault; nothing here stops it."""
    return (
        *training_advice(found),
        *learning_rate_advice(found),
        *space_advice(found.sweep),
        *evidence_advice(found.sweep),
    )
