"""How a report writes numbers; scores are fractions and are shown in percent."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from droplora_sweep.analysis.intervals import Estimate

if TYPE_CHECKING:
    from datetime import datetime

DASH = "\N{EN DASH}"
MINUS = "\N{MINUS SIGN}"


def share(value: float | None) -> str:
    """A probability or share: ``87 %``, never 0 or 100 where it is neither."""
    if value is None or math.isnan(value):
        return DASH
    if 0 < value < 0.01:
        return "< 1 %"
    if 0.99 < value < 1:
        return "> 99 %"
    return f"{value:.0%}".replace("%", " %")


def score(value: Estimate | float | None) -> str:
    """A score: ``61.1 %``."""
    number = value.value if isinstance(value, Estimate) else value
    return DASH if number is None or math.isnan(number) else f"{100 * number:.1f} %"


def interval(value: Estimate | float | None) -> str:
    """The interval of a score: ``[53.4, 68.0]``; "" without one."""
    if not isinstance(value, Estimate):
        return ""
    return f"[{100 * value.low:.1f}, {100 * value.high:.1f}]"


def points(gain: Estimate | None) -> str:
    """A difference in percentage points: ``+1.4 points [+0.2, +2.6]``."""
    if gain is None:
        return DASH
    value, low, high = (_signed(100 * number) for number in (gain.value, gain.low, gain.high))
    return f"{value} points [{low}, {high}]"


def hours(value: float) -> str:
    """A time given in hours: ``12 s``, ``4.2 min``, ``3.1 h``."""
    if value < 1 / 60:
        return f"{3600 * value:.0f} s"
    return f"{60 * value:.1f} min" if value < 1 else f"{value:.1f} h"


def moment(time: datetime) -> str:
    """A time: ``2026-11-22 10:55 UTC``."""
    return f"{time:%Y-%m-%d %H:%M} UTC"


def quantity(value: float) -> str:
    """A measured number with three significant digits: ``4,010``, ``0.766``."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{digits}f}"


def _signed(value: float) -> str:
    return f"{value:+z.1f}".replace("-", MINUS)
