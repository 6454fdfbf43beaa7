"""The order in which trials are worth confirming."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from droplora_sweep.analysis.evidence import Candidate

    from .posterior import SubjectPosterior

SPACING = 0.05
"""Rates closer than this count as one rate: the better trial stands for both."""


@dataclass(frozen=True)
class Ranking:
    """Trials by what they are worth on one benchmark.

    Attributes:
        unpruned: The best trial with p = 0, or, where none is complete, the best of all.
        finalists: One trial for each rate above 0, the best first.
    """

    unpruned: Candidate
    finalists: tuple[Candidate, ...]


def by_score(ranked: Sequence[Candidate]) -> Ranking:
    """Rank by the best observed score; each rate is as good as its best trial.

    Args:
        ranked: Complete trials, one with p > 0 at least, the best first.
    """
    return Ranking(_unpruned(ranked), _spaced(ranked))


def by_posterior(
    ranked: Sequence[Candidate], found: SubjectPosterior, begun: Collection[str] = ()
) -> Ranking:
    """Rank by the posterior; the rates that are likeliest to be the best come first.

    Each rate stands with the setting, of those that were tried with it, whose expected score is
    best; p = 0 too. The chance is that of being the best of these settings with p > 0.

    Args:
        ranked: Complete trials, one with p > 0 at least, the best observed score first.
        found: What the model says of them.
        begun: Ids of trials to put before all others: their settings are being confirmed.
    """
    means = found.means
    expected = sorted(ranked, key=lambda one: (one.trial_id not in begun, -means[one.trial_id]))
    stand_for = _spaced(expected)
    chances = found.chances([one.trial_id for one in stand_for])
    order = sorted(
        range(len(stand_for)),
        key=lambda index: (stand_for[index].trial_id not in begun, -chances[index]),
    )
    return Ranking(_unpruned(expected), tuple(stand_for[index] for index in order))


def _unpruned(ranked: Sequence[Candidate]) -> Candidate:
    return next((one for one in ranked if one.pruning_rate == 0), ranked[0])


def _spaced(ranked: Sequence[Candidate]) -> tuple[Candidate, ...]:
    """The first trial of each rate above 0 that is not too close to one before it."""
    picked: list[Candidate] = []
    for one in ranked:
        distances = [abs(one.pruning_rate - other.pruning_rate) for other in picked]
        if one.pruning_rate > 0 and all(gap >= SPACING - 1e-9 for gap in distances):
            picked.append(one)
    return tuple(picked)
