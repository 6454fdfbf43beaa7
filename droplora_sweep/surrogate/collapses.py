"""Trials that collapsed: far below all others, by chance or beyond an edge of the space.

A process is smooth. One that had to explain a collapse would expect too little of all settings
around it, and a learning rate is often best just before the one with which training diverges. So
collapsed trials are left out of the model of the score, and a second model of the same kind, of 1
for a collapse and 0 for none, says where the next ones are (regression on labels as a classifier:
Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006, section 6.5; apart from the
objective as in Gelbart, Snoek and Adams, Bayesian Optimization with Unknown Constraints, UAI 2014).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from droplora_sweep.spec import Scalar

    from .coordinates import Array

    Setting = Mapping[str, Scalar]

APART = 4.0
"""A gap between neighbouring scores, below the median, that is wider than this many times the
distance from the median to the best tenth parts collapses from the others."""
LIKELY = 0.5
"""Expected label above which a setting counts as one that collapses."""


@dataclass(frozen=True, eq=False)
class Collapses:
    """Collapses to be expected.

    Attributes:
        labels: Gives mean and covariance of settings' labels, 1 for a collapse and 0 for none.
        seen: Settings of those that did.
        floor: Expected score of a setting that collapses: below that of all that do not.
    """

    labels: Callable[[Sequence[Setting]], tuple[Array, Array]]
    seen: Sequence[Setting]
    floor: float

    def are_expected(self, settings: Sequence[Setting]) -> NDArray[np.bool_]:
        """Return True for settings that collapsed, and for those that are likely to."""
        were_seen = np.array([any(one == other for other in self.seen) for one in settings])
        labels, _ = self.labels(settings)
        result: NDArray[np.bool_] = were_seen | (labels > LIKELY)
        return result


def have_collapsed(scores: Array, unit: float) -> NDArray[np.bool_]:
    """Return True for trials that collapsed; at most half of all.

    Args:
        scores: Of trials.
        unit: Distance from the median to the best tenth.
    """
    ascending = np.sort(scores)
    below = ascending[: len(scores) // 2 + 1]
    wide = np.flatnonzero(np.diff(below) > APART * unit)
    if not len(wide):
        return np.zeros(len(scores), dtype=np.bool_)
    result: NDArray[np.bool_] = scores <= below[wide[-1]]
    return result
