"""Stopping rules that look at the other trials' evaluations; pure functions."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean, median
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Outcomes: TypeAlias = Mapping[str, Sequence[float | None]]
    IsBehind: TypeAlias = Callable[[Outcomes, Outcomes], bool]
    Histories: TypeAlias = "Mapping[str, Mapping[int, Evaluated]]"
    Rule: TypeAlias = Callable[[Histories, str, int], bool]


@dataclass(frozen=True)
class Evaluated:
    """One evaluation of a trial.

    Attributes:
        score: The search's metric, finite.
        outcomes: Each example's score by benchmark, in one order for all trials.
    """

    score: float
    outcomes: Outcomes


def below_median(histories: Histories, trial: str, evaluation: int, *, min_trials: int) -> bool:
    """Whether a trial's best score is below the median of the others' running means.

    Both up to this evaluation (Golovin et al., Google Vizier, KDD 2017, section 3.2.2).

    Args:
        histories: Every trial's evaluations by number.
        trial: The one to decide on.
        evaluation: Its last one.
        min_trials: So many others must have reached the evaluation.
    """

    def scores(name: str) -> list[float]:
        return [one.score for number, one in histories[name].items() if number <= evaluation]

    others = [name for name in histories if name != trial and evaluation in histories[name]]
    if len(others) < min_trials:
        return False
    return max(scores(trial)) < median(fmean(scores(name)) for name in others)


def is_hopeless(histories: Histories, trial: str, evaluation: int, *, is_behind: IsBehind) -> bool:
    """Whether a trial is behind the best one at the same evaluation by more than chance explains.

    Args:
        histories: Every trial's evaluations by number.
        trial: The one to decide on.
        evaluation: Its last one.
        is_behind: Says so of a trial's outcomes and another's.
    """
    rivals = [one[evaluation] for one in histories.values() if evaluation in one]
    own, best = histories[trial][evaluation], max(rivals, key=lambda one: one.score)
    return best.score > own.score and is_behind(own.outcomes, best.outcomes)


def bracket_of(number: int, num_brackets: int, reduction_factor: int) -> int:
    """Hyperband's bracket of a numbered trial, by the trial's number alone.

    Bracket ``b`` of ``B`` has a share of the trials proportional to ``eta^s / (s + 1)`` with
    ``s = B - 1 - b``, which gives all the same amount of training (arXiv 1603.06560, Algorithm 1).
    Each trial goes where the share is furthest from being filled.
    """
    halvings = range(num_brackets - 1, -1, -1)
    weights = [reduction_factor**each / (each + 1) for each in halvings]
    counts = [0] * num_brackets
    chosen = 0
    for index in range(number + 1):
        chosen = max(
            range(num_brackets),
            key=lambda each: weights[each] / sum(weights) * (index + 1) - counts[each],
        )
        counts[chosen] += 1
    return chosen
