"""Trials as the model sees them: scores, what is known of their noise, and early stops.

A trial that was stopped early counts with its last score, plus what complete trials gained from
that evaluation to their end, and with the spread of those gains as further noise. Those that went
on were ahead there, partly by luck, so their mean gain is somewhat too low; the spread covers that.
Where fewer than three complete trials have a score at that evaluation, it is left out.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from .noise import known_variances
from .process import Observations

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from droplora_sweep.spec import Scalar

    from .noise import Outcomes

FEWEST_GAINS = 3
"""Complete trials from which a stopped trial's missing gain is taken."""


@dataclass(frozen=True, kw_only=True)
class ObservedTrial:
    """A finished trial.

    Attributes:
        drawn: Raw values of its searched parameters.
        scores: The score that is modelled, a fraction, at each evaluation, by its number; finite.
        is_complete: True where it was trained to its full length and scored.
        outcomes: Scores on the examples at its last evaluation, by benchmark, in one order for all
            trials; None where they are not known.
    """

    drawn: Mapping[str, Scalar]
    scores: Mapping[int, float] = field(default_factory=dict)
    is_complete: bool = True
    outcomes: Outcomes | None = None


def observations(trials: Sequence[ObservedTrial], parts: Sequence[str]) -> Observations:
    """Return the scores of trials, for a model to be fitted to.

    Args:
        trials: Finished ones; those without a score are left out.
        parts: The benchmarks that the score is the unweighted mean of.
    """
    complete = [one for one in trials if one.is_complete and one.scores]
    seen = list(complete)
    scores = [one.scores[max(one.scores)] for one in complete]
    further = [0.0] * len(complete)
    for one in trials:
        if one.is_complete or not one.scores:
            continue
        last = max(one.scores)
        gains = [
            other.scores[max(other.scores)] - other.scores[last]
            for other in complete
            if last in other.scores
        ]
        if len(gains) >= FEWEST_GAINS:
            seen.append(one)
            scores.append(one.scores[last] + float(np.mean(gains)))
            further.append(float(np.var(gains, ddof=1)) * (1 + 1 / len(gains)))
    variances = known_variances([one.outcomes for one in seen], parts)
    return Observations([one.drawn for one in seen], np.array(scores), variances + further)
