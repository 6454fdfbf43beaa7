"""Trials and sweeps on the same examples: their difference, how sure it is, and futility."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from scipy.stats import binomtest

from .estimate import Estimate
from .evidence import Arm, Run, parts_of, tabulate
from .intervals import bounded_mean, mean, mean_score, paired_difference
from .variance_components import FEWEST_SEEDS, components, run_means

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Outcomes = Mapping[str, Sequence[float | None]]
    from collections.abc import Mapping, Sequence

    from .evidence import Scores


NUM_DRAWS = 50_000


@dataclass(frozen=True)
class Disagreement:
    """Difference of two trials on one benchmark whose answers are right or wrong.

    Attributes:
        num_gained: Examples that only the first answered correctly.
        num_lost: Examples that only the second answered correctly.
        num_examples: All examples.
    """

    num_gained: int
    num_lost: int
    num_examples: int

    @property
    def difference(self) -> Estimate:
        """First minus second."""
        return paired_difference(self.num_gained, self.num_lost, self.num_examples)

    def flipped(self, generator: np.random.Generator) -> np.ndarray:
        """`NUM_DRAWS` differences, if each disagreement were as likely a gain as a loss."""
        num_disagreements = self.num_gained + self.num_lost
        gained = generator.binomial(num_disagreements, 0.5, NUM_DRAWS)
        return (2 * gained - num_disagreements) / self.num_examples


@dataclass(frozen=True)
class GradedDifference:
    """Difference of two trials on one benchmark whose answers are graded.

    Attributes:
        differences: First minus second, in [-1, 1], one per example.
    """

    differences: tuple[float, ...]

    @property
    def num_examples(self) -> int:
        """All examples."""
        return len(self.differences)

    @property
    def difference(self) -> Estimate:
        """First minus second."""
        return bounded_mean(self.differences, -1.0, 1.0)

    def flipped(self, generator: np.random.Generator) -> np.ndarray:
        """`NUM_DRAWS` differences, if each example's were as likely to be the other way round."""
        sizes, counts = np.unique(np.round(np.abs(self.differences), 9), return_counts=True)
        drawn = np.zeros(NUM_DRAWS)
        for size, count in zip(sizes, counts, strict=True):
            drawn += size * (2 * generator.binomial(count, 0.5, NUM_DRAWS) - count)
        return drawn / len(self.differences)


Pairing: TypeAlias = Disagreement | GradedDifference


def disagreement(
    first: Mapping[str, float | None], second: Mapping[str, float | None]
) -> Pairing | None:
    """Return the difference of two trials; None if they were not scored on the same examples.

    An example whose score is missing in one of them is left out.
    """
    if first.keys() != second.keys():
        return None
    pairs = [
        (one, other)
        for example, one in first.items()
        if one is not None and (other := second[example]) is not None
    ]
    if not pairs:
        return None
    if any(score not in (0.0, 1.0) for pair in pairs for score in pair):
        return GradedDifference(tuple(one - other for one, other in pairs))
    gained = sum(one > other for one, other in pairs)
    lost = sum(other > one for one, other in pairs)
    return Disagreement(gained, lost, len(pairs))


def pairings(
    first: Scores | None, second: Scores | None, parts: Sequence[str]
) -> list[Pairing] | None:
    """Return where two trials differ on each benchmark; None where one of them cannot be paired."""
    if first is None or second is None:
        return None
    found = [disagreement(first.get(part, {}), second.get(part, {})) for part in parts]
    known = [pairing for pairing in found if pairing is not None]
    return known if len(known) == len(parts) else None


def mean_difference(parts: Sequence[Pairing]) -> Estimate:
    """First minus second, as the unweighted mean over benchmarks."""
    return mean([part.difference for part in parts])


def p_value(parts: Sequence[Pairing]) -> float:
    """Two-sided p-value of "neither trial is better", over one or more benchmarks.

    If neither is, each difference is as likely a gain as a loss. For one benchmark of right and
    wrong answers that is McNemar's exact test, a binomial test on the disagreements. For graded
    answers, and for the unweighted mean of several benchmarks, the same coin flips are made and
    weighted by their sizes and 1 / num_examples; their distribution is sampled, with a fixed seed,
    and the observed value is counted as one draw.
    """
    part = parts[0]
    if len(parts) == 1 and isinstance(part, Disagreement):
        num_disagreements = part.num_gained + part.num_lost
        if num_disagreements == 0:
            return 1.0
        return float(binomtest(part.num_gained, num_disagreements, 0.5).pvalue)
    observed = sum(part.difference.value for part in parts)
    generator = np.random.default_rng(0)
    drawn = np.sum([part.flipped(generator) for part in parts], axis=0)
    num_as_extreme = int(np.sum(np.abs(drawn) >= abs(observed) - 1e-12))
    return (1 + num_as_extreme) / (1 + NUM_DRAWS)


def is_behind(own: Outcomes, other: Outcomes, *, subject: str) -> bool:
    """Return True where the 95 % interval of a trial's difference to another lies below 0.

    It is paired by examples. Where they cannot be paired (another number of examples), the trial's
    own interval must lie below the other's, which takes more to happen.

    Args:
        own: The trial's score on each example, by benchmark, in one order for both.
        other: The other's.
        subject: A benchmark, or ``mean`` for all.

    Returns:
        False too where either has no scores.
    """
    parts = parts_of(subject, list(other))
    if not parts or own.keys() != other.keys():
        return False
    first, second = _numbered(own), _numbered(other)
    pairs = pairings(first, second, parts)
    if pairs is not None:
        return mean_difference(pairs).high < 0
    lower, higher = score_estimate(first, parts), score_estimate(second, parts)
    return lower is not None and higher is not None and lower.high < higher.low


def _numbered(outcomes: Outcomes) -> dict[str, dict[str, float | None]]:
    return {
        part: {str(index): score for index, score in enumerate(scores)}
        for part, scores in outcomes.items()
    }


def score_estimate(scores: Scores | None, parts: Sequence[str]) -> Estimate | None:
    """Return a trial's unweighted mean over benchmarks, with its 95 % interval.

    Args:
        scores: The trial's, by benchmark and example.
        parts: The benchmarks.

    Returns:
        None where one of them has no score.
    """
    if scores is None:
        return None
    known = [[one for one in scores.get(part, {}).values() if one is not None] for part in parts]
    return mean([mean_score(some) for some in known]) if all(known) else None


@dataclass(frozen=True)
class Contrast:
    """First sweep minus second.

    Attributes:
        difference: With its 95 % interval.
        p_value: Two-sided, for "no difference"; None where it was not tested.
        num_examples: Examples that both were scored on; 0 where not paired.
        num_seeds: Seeds that both were trained with, 1 for a pair of single trials.
    """

    difference: Estimate
    p_value: float | None
    num_examples: int
    num_seeds: int


def paired_trials(
    first: Scores | None, second: Scores | None, benchmarks: Sequence[str]
) -> Contrast | None:
    """Compare two trials; None if they were not scored on the same examples.

    The interval covers the choice of examples, not the luck of a seed.
    """
    pairs = pairings(first, second, benchmarks)
    if pairs is None:
        return None
    num_examples = sum(pair.num_examples for pair in pairs)
    return Contrast(mean_difference(pairs), p_value(pairs), num_examples, 1)


def paired_runs(
    first: Mapping[int, Scores], second: Mapping[int, Scores], benchmarks: Sequence[str]
) -> Contrast | None:
    """Two arms trained with the same seeds and scored on the same examples.

    The interval covers new seeds and new examples (see `variance_components`).

    Args:
        first: Scores of the first sweep's arm by seed.
        second: Of the second's.
        benchmarks: One, or those that a mean is over.

    Returns:
        None with fewer than three shared seeds, or where examples differ or a run has no score.
    """
    seeds = sorted(first.keys() & second.keys())
    if len(seeds) < FEWEST_SEEDS or any(
        first[seed].get(name, {}).keys() != second[seed].get(name, {}).keys()
        for seed in seeds
        for name in benchmarks
    ):
        return None
    arms = (Arm("first", 0.0), Arm("second", 1.0))
    runs = [
        Run(arm, seed, {name: side[seed].get(name, {}) for name in benchmarks})
        for arm, side in zip(arms, (first, second), strict=True)
        for seed in seeds
    ]
    table = tabulate(runs)
    parts = [table.scores[name] for name in benchmarks]
    if not np.isfinite(run_means(parts)).all():
        return None
    found = components(parts)
    difference = found.difference(0, 1)
    return Contrast(
        difference.estimate, difference.p_value, found.num_examples, int(found.num_seeds.max())
    )


def unpaired(first: Estimate, second: Estimate) -> Contrast:
    """Two scores of other examples, taken as independent.

    MOVER (Zou and Donner, Stat. Med. 27, 2008): distances from value to limit add in squares.
    """
    value = first.value - second.value
    below = ((first.value - first.low) ** 2 + (second.high - second.value) ** 2) ** 0.5
    above = ((first.high - first.value) ** 2 + (second.value - second.low) ** 2) ** 0.5
    return Contrast(Estimate(value, max(-1.0, value - below), min(1.0, value + above)), None, 0, 1)
