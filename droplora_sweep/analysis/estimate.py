"""A value with its interval, and lists of names, as sentences have them; imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class Estimate:
    """A value and its 95 % interval, as fractions (0.5 is 50 %)."""

    value: float
    low: float
    high: float

    @property
    def as_score(self) -> str:
        """A score in words.

        >>> Estimate(0.612, 0.58, 0.643).as_score
        '61.2% [58.0%, 64.3%]'
        """
        return f"{self.value:.1%} [{self.low:.1%}, {self.high:.1%}]"

    @property
    def as_difference(self) -> str:
        """A difference of scores in words.

        >>> Estimate(0.014, -0.0001, 0.026).as_difference
        '+1.4 points [+0.0, +2.6]'
        """
        value, low, high = (100 * one for one in (self.value, self.low, self.high))
        return f"{value:+z.1f} points [{low:+z.1f}, {high:+z.1f}]"


def listed(names: Sequence[str], last: str = "and") -> str:
    """Return names as a sentence has them.

    >>> listed(["arc", "gsm", "code"]), listed(["arc"])
    ('arc, gsm and code', 'arc')
    """
    return f" {last} ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
