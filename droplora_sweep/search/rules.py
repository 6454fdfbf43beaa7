"""Decisions after an evaluation: stopping rules and population-based training; pure functions.

Population-based training follows Jaderberg et al., arXiv 1711.09846: truncation selection (section
4.1.1's exploit) and perturbation or resampling (its explore). Members are compared at the same
evaluation with all that have reached it so far, whether they run now, have ended, or are of an
earlier driver, so that a population can have more members than there are groups. The first to reach
an evaluation has no other to copy there.
"""

from __future__ import annotations

import hashlib
import math
import random
from dataclasses import dataclass
from statistics import fmean, median
from typing import TYPE_CHECKING, TypeAlias

from droplora_sweep.spec import ExploitStep, Range

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Outcomes: TypeAlias = Mapping[str, Sequence[float | None]]
    IsBehind: TypeAlias = Callable[[Outcomes, Outcomes], bool]
    Histories: TypeAlias = "Mapping[str, Mapping[int, Scored]]"
    Rule: TypeAlias = Callable[[Histories, str, int], bool]
    from collections.abc import Mapping, Sequence

    from droplora_sweep.spec import Parameter, PopulationSpec, Scalar


@dataclass(frozen=True)
class Scored:
    """One evaluation of a trial.

    Attributes:
        score: What the search maximises (see ``search_value``), finite.
        outcomes: Each example's score by benchmark, in one order for all trials.
    """

    score: float
    outcomes: Outcomes


def below_median(histories: Histories, trial: str, evaluation: int, *, min_trials: int) -> bool:
    """Return whether a trial's best score is below the median of the others' running means.

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


def is_futile(histories: Histories, trial: str, evaluation: int, *, is_behind: IsBehind) -> bool:
    """Return whether a trial is behind the best one by more than chance explains.

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


@dataclass(frozen=True, kw_only=True)
class Member:
    """One trial of a population.

    Attributes:
        name: Its id.
        number: Its number in the study.
        scores: What the search maximises at each evaluation, by its number; may hold NaN.
        settings: The searched values that it trained with up to each evaluation, by its number.
        is_baseline: It keeps its values: the others are compared with it.
    """

    name: str
    number: int
    scores: Mapping[int, float]
    settings: Mapping[int, Mapping[str, Scalar]]
    is_baseline: bool = False


def next_exploit(
    *,
    members: Sequence[Member],
    name: str,
    evaluation: int,
    population: PopulationSpec,
    parameters: Mapping[str, Parameter],
    seed: int,
) -> ExploitStep:
    """Return the exploit step of a member after its evaluation.

    Args:
        members: All members, the one that asks included, as far as they have come.
        name: Name of the member that asks.
        evaluation: Its last one.
        population: The rule.
        parameters: Ranges of the searched fields.
        seed: Of the sweep; with the member's number and the evaluation it seeds all draws.
    """
    [member] = [each for each in members if each.name == name]
    reached = [each for each in members if _score(each, evaluation) is not None]
    stays = ExploitStep(evaluation)
    if member.is_baseline or member not in reached or len(reached) < population.min_members:
        return stays
    # Of equal scores the earlier member's counts as the better one.
    ranked = sorted(reached, key=lambda each: (-each.scores[evaluation], each.number))
    num_ends = min(math.ceil(len(ranked) * population.quantile), len(ranked) // 2)
    if member not in ranked[len(ranked) - num_ends :]:
        return stays
    draws = _draws(seed, member.number, evaluation)
    source = draws.choice(ranked[:num_ends])
    if source.scores[evaluation] == member.scores[evaluation]:
        return stays
    settings = {
        path: explored(source.settings[evaluation][path], parameters[path], population, draws)
        for path in parameters
    }
    return ExploitStep(evaluation, source.name, settings)


def explored(
    value: Scalar, parameter: Parameter, population: PopulationSpec, draws: random.Random
) -> Scalar:
    """A copied value, changed: drawn anew from its range, or multiplied by 1.2 or 0.8, say.

    Args:
        value: The source's.
        parameter: Its range; the result lies in it, and on its steps.
        population: Probability of a new draw, and factor of a perturbation.
        draws: A generator; as many numbers are drawn in either case.
    """
    assert isinstance(parameter, Range), "a population searches ranges"
    assert isinstance(value, int | float)
    is_resampled = draws.random() < population.resample_probability
    position = draws.random()
    if is_resampled:
        return parameter.at(position)
    sign = 1 if position < 1 / 2 else -1
    return parameter.nearest(value * (1 + sign * population.perturbation))


def _score(member: Member, evaluation: int) -> float | None:
    score = member.scores.get(evaluation, math.nan)
    return score if math.isfinite(score) else None


def _draws(seed: int, number: int, evaluation: int) -> random.Random:
    digest = hashlib.sha256(f"population/{seed}/{number}/{evaluation}".encode()).digest()
    return random.Random(int.from_bytes(digest[:8], "big"))
