"""Components of the spread between runs: the part of seeds, and the part of examples.

Scores of arm a, seed s, example e are taken as crossed random effects, with nothing assumed of
their distribution but means and variances::

    score = arm_a + seed_s + example_e + (arm x seed)_as + (arm x example)_ae + rest_ase

In the difference of two arms whatever they share cancels, and the variance of its mean over S
seeds and E examples is ``var(arm x seed) / S + var(arm x example) / E + var(rest) / (S E)``, each
taken over both arms. The first and last are what the runs' means vary by over seeds, estimated
with the few degrees of freedom that few seeds leave; the second is estimated by the covariance,
over examples, of scores from *different* seeds, which the rest does not enter. A t distribution
follows, with Satterthwaite's degrees of freedom. That is how readers and cases are handled in
medical imaging studies, where readers are as few as seeds are here: Obuchowski and Rockette
(Communications in Statistics 24, 1995), Hillis (Stat. Med. 26, 2007). Resampling seeds and
examples instead (a plain bootstrap) counts the rest more than once (Owen, Ann. Appl. Stat. 1,
2007) and the seeds too little: among 3 seeds a resample's variance is 2/3 of theirs, and normal
quantiles stand for those of t.

Nothing is pooled over arms, since one rate may vary far more than another over seeds: each pair is
judged by its own runs alone. Their seeds' part is Welch's (Biometrika 34, 1947), the sum of the two
arms' own variances with 2 to 4 degrees of freedom from 3 seeds, which at worst counts what a seed
does to both. Where the arms together show that seeds move them alike, it is the variance of the
paired differences, with 2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import fdtrc, stdtr, stdtrit

from .estimate import Estimate
from .intervals import CONFIDENCE, ROUNDING, Z, unseen_share

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from .evidence import Array

FEWEST_SEEDS = 3
"""Shared seeds from which on two arms can be distinguished."""
LEAST_SHARE = 0.5
SEED_WEIGHT = 2.0
SHARED_SEEDS_LEVEL = 0.01
MOST_DF = 1e6


@dataclass(frozen=True)
class Difference:
    """First arm minus second.

    Attributes:
        estimate: With its 95 % interval over new seeds and new examples, for this pair alone.
        standard_error: Of the value.
        seed_variance: Part of the squared standard error that more seeds shrink.
        example_variance: Part that only more examples shrink.
        seed_df: Degrees of freedom of the seeds' part.
        degrees_of_freedom: Of the t distribution.
        num_seeds: Seeds that both arms have.
        p_value: Two-sided, for "no difference", as if the pair had been named in advance.
    """

    estimate: Estimate
    standard_error: float
    seed_variance: float
    example_variance: float
    seed_df: float
    degrees_of_freedom: float
    num_seeds: int
    p_value: float


@dataclass(frozen=True, eq=False)
class Components:
    """Means of arms and what they vary by, for one benchmark or the mean of several.

    Attributes:
        means: Mean score of each arm, shape (arms,); where an arm lacks a seed, adjusted for what
            that seed does to the other arms.
        runs: Mean score of each run, (arms, seeds); NaN where there is none.
        seeds_are_shared: True where a seed visibly moves all arms alike.
        own_covariance: Covariance of the means of runs of one seed that comes from the noise of
            single answers, (arms, arms).
        example_covariance: Covariance of ``means`` over examples, (arms, arms).
        disagree: True for arms that differ in any answer of a seed that both have, (arms, arms).
        sizes: Examples of each benchmark.
    """

    means: Array
    runs: Array
    seeds_are_shared: bool
    own_covariance: Array
    example_covariance: Array
    disagree: NDArray[np.bool_]
    sizes: tuple[int, ...]

    @property
    def num_seeds(self) -> NDArray[np.int64]:
        """Runs of each arm, (arms,)."""
        counts: NDArray[np.int64] = np.isfinite(self.runs).sum(axis=1)
        return counts

    @property
    def num_examples(self) -> int:
        """Examples that some run was scored on, over all benchmarks."""
        return sum(self.sizes)

    @property
    def _example_df(self) -> float:
        return max(self.num_examples - 1, 1)

    def difference(self, first: int, second: int) -> Difference:
        """Compare two arms by the seeds that both have."""
        both_AS = self.runs[[first, second]]
        both_AS = both_AS[:, np.isfinite(both_AS).all(axis=0)]
        num_seeds = both_AS.shape[1]
        if num_seeds < 2:
            value = float(self.means[first] - self.means[second])
            unknown = Estimate(value, -1.0, 1.0)
            return Difference(unknown, math.inf, math.inf, 0.0, 1.0, 1.0, num_seeds, 1.0)
        value = float((both_AS[0] - both_AS[1]).mean())
        if not self.disagree[first, second]:
            # What was never seen to differ may differ in other examples, however many seeds agree.
            half = math.hypot(*map(unseen_share, self.sizes)) / len(self.sizes)
            error = half / Z
            estimate = Estimate(0.0, -half, half)
            return Difference(estimate, error, 0.0, error**2, 1.0, math.inf, num_seeds, 1.0)
        spread, seed_df = self._spread(both_AS)
        spread = max(spread, LEAST_SHARE * _of_difference(self.own_covariance, first, second))
        by_seeds = spread / num_seeds
        by_examples = _of_difference(self.example_covariance, first, second) + self._unseen()
        error = math.sqrt(by_seeds + by_examples)
        df = float(combined_df(by_seeds, seed_df, by_examples, self._example_df))
        half = _quantile(df) * error
        estimate = Estimate(value, max(-1.0, value - half), min(1.0, value + half))
        p_value = 2 * float(stdtr(min(df, MOST_DF), -abs(value) / error))
        return Difference(
            estimate, error, by_seeds, by_examples, seed_df, df, num_seeds, min(1.0, p_value)
        )

    def mean(self, arm: int) -> Estimate:
        """An arm's mean score, with its 95 % interval over new seeds and new examples.

        Wilson's interval for as many examples as would give the standard error, so that it stays
        between 0 and 1 and has a width at both (Korn and Graubard, Survey Methodology 24, 1998).
        """
        runs_S = self.runs[arm][np.isfinite(self.runs[arm])]
        value = min(1.0, max(0.0, float(self.means[arm])))
        if len(runs_S) < 2:
            return Estimate(value, 0.0, 1.0)
        spread = max(float(runs_S.var(ddof=1)), LEAST_SHARE * float(self.own_covariance[arm, arm]))
        by_seeds = spread / len(runs_S)
        by_examples = max(0.0, float(self.example_covariance[arm, arm]))
        df = float(combined_df(by_seeds, len(runs_S) - 1, by_examples, self._example_df))
        variance = (by_seeds + by_examples) * (_quantile(df) / Z) ** 2
        binomial = value * (1 - value)
        if variance < ROUNDING**2 or binomial < ROUNDING:
            return _wilson(value, self.num_examples)
        return _wilson(value, binomial / variance)

    def seed_covariance(self) -> Array:
        """Covariance of ``means`` over seeds, (arms, arms)."""
        present_AS = np.isfinite(self.runs)
        filled_AS = np.where(present_AS, self.runs, 0.0)
        shared_AA = (present_AS.astype(np.float64) @ present_AS.T).clip(min=1)
        centred_AS = np.where(
            present_AS, filled_AS - (filled_AS.sum(axis=1) / present_AS.sum(axis=1))[:, None], 0.0
        )
        found_AA = centred_AS @ centred_AS.T / (shared_AA - 1).clip(min=1) / shared_AA
        result: Array = found_AA if self.seeds_are_shared else np.diag(np.diag(found_AA))
        return result

    def _spread(self, both_AS: Array) -> tuple[float, float]:
        """Variance over seeds of the difference of two runs, and its degrees of freedom."""
        df = both_AS.shape[1] - 1
        if self.seeds_are_shared:
            return float((both_AS[0] - both_AS[1]).var(ddof=1)), df
        first, second = (float(one) for one in both_AS.var(axis=1, ddof=1))
        squares = first**2 + second**2
        return first + second, (df * (first + second) ** 2 / squares if squares else df)

    def _unseen(self) -> float:
        """Variance of two examples more per benchmark, one gained and one lost.

        So few disagreements are not taken for none (Bonett and Price, see `paired_difference`).
        """
        return sum(2 / (size + 2) ** 2 for size in self.sizes) / len(self.sizes) ** 2


def components(parts: Sequence[Array]) -> Components:
    """Estimate the components of the unweighted mean over benchmarks.

    Args:
        parts: Per benchmark, ``scores_ASE`` of shape (arms, seeds, examples), NaN where missing.
            Each arm has a run that shares a seed with another's (see `comparable`).
    """
    runs_AS = run_means(parts)
    found = [_covariances(part) for part in parts]
    weight = 1 / len(parts) ** 2
    return Components(
        means=_adjusted_means(runs_AS),
        runs=runs_AS,
        seeds_are_shared=_seeds_are_shared(runs_AS),
        own_covariance=np.sum([own_AA for _, own_AA in found], axis=0) * weight,
        example_covariance=np.sum([example_AA for example_AA, _ in found], axis=0) * weight,
        disagree=np.any([_disagree(part) for part in parts], axis=0),
        sizes=tuple(int(np.isfinite(part).any(axis=(0, 1)).sum()) for part in parts),
    )


def run_means(parts: Sequence[Array]) -> Array:
    """Mean score of each run, ``runs_AS``; NaN where a benchmark has no score at all."""
    present = [np.isfinite(part) for part in parts]
    with np.errstate(invalid="ignore"):
        means = [
            np.where(here, part, 0).sum(axis=2) / here.sum(axis=2)
            for part, here in zip(parts, present, strict=True)
        ]
    result: Array = np.mean(means, axis=0)
    return result


def _adjusted_means(runs_AS: Array) -> Array:
    """Each arm's mean over all seeds, as least squares of arm plus seed fit it."""
    present_AS = np.isfinite(runs_AS)
    if present_AS.all():
        return np.asarray(runs_AS.mean(axis=1), np.float64)
    num_arms, num_seeds = runs_AS.shape
    arm_index, seed_index = np.nonzero(present_AS)
    design = np.zeros((len(arm_index), num_arms + num_seeds - 1))
    design[np.arange(len(arm_index)), arm_index] = 1
    # Effects of seeds add up to 0, so that an arm's effect is its mean over all seeds.
    to_effects = np.vstack([np.eye(num_seeds - 1), -np.ones(num_seeds - 1)])
    design[:, num_arms:] = to_effects[seed_index]
    fitted, *_ = np.linalg.lstsq(design, runs_AS[present_AS], rcond=None)
    return np.asarray(fitted[:num_arms], np.float64)


def _seeds_are_shared(runs_AS: Array) -> bool:
    """Return True where a seed moves all arms alike, by the F test of seeds that all arms have.

    Where it cannot be tested the seeds count as shared: paired differences always hold.
    """
    complete_AS = runs_AS[:, np.isfinite(runs_AS).all(axis=0)]
    num_arms, num_seeds = complete_AS.shape
    if num_seeds < FEWEST_SEEDS or num_arms < 2:
        return True
    seed_S = complete_AS.mean(axis=0) - complete_AS.mean()
    rest_AS = complete_AS - complete_AS.mean(axis=1, keepdims=True) - seed_S
    of_seeds = num_arms * float(seed_S @ seed_S)
    of_rest = float((rest_AS**2).sum()) / (num_arms - 1)
    if of_rest < ROUNDING**2:
        return True
    seed_df, rest_df = num_seeds - 1, (num_arms - 1) * (num_seeds - 1)
    return float(fdtrc(seed_df, rest_df, of_seeds / of_rest)) < SHARED_SEEDS_LEVEL


def _covariances(scores_ASE: Array) -> tuple[Array, Array]:
    """Covariances of the arms' means over examples, and of runs' means by the noise of answers.

    Runs of different seeds share nothing but arm and example effects: the mean of their
    covariances over examples estimates the variance of those, and divided by the number of
    examples that of their mean, ``(arms, arms)``. What runs of one seed have beyond that is noise
    that varies a run's mean, whatever the seed does.
    """
    num_arms, num_seeds, num_examples = scores_ASE.shape
    scores_RE = scores_ASE.reshape(num_arms * num_seeds, num_examples)
    present_RE = np.isfinite(scores_RE)
    filled_RE = np.where(present_RE, scores_RE, 0)
    means_R = filled_RE.sum(axis=1) / np.maximum(present_RE.sum(axis=1), 1)
    centred_RE = np.where(present_RE, filled_RE - means_R[:, None], 0)
    shared_RR = present_RE.astype(np.float64) @ present_RE.T
    usable_RR = shared_RR > 1
    covariance_RR = centred_RE @ centred_RE.T / np.where(usable_RR, shared_RR * (shared_RR - 1), 1)
    blocks = (num_arms, num_seeds, num_arms, num_seeds)
    covariance_ASAS = np.where(usable_RR, covariance_RR, 0).reshape(blocks)
    usable_ASAS = usable_RR.reshape(blocks)
    same_seed = np.eye(num_seeds, dtype=bool)[None, :, None, :]

    def averaged(counted_ASAS: NDArray[np.bool_]) -> Array:
        total_AA: Array = np.where(counted_ASAS, covariance_ASAS, 0).sum(axis=(1, 3))
        return total_AA / np.maximum(counted_ASAS.sum(axis=(1, 3)), 1)

    example_AA = averaged(usable_ASAS & ~same_seed)
    return example_AA, averaged(usable_ASAS & same_seed) - example_AA


def _disagree(scores_ASE: Array) -> NDArray[np.bool_]:
    """Return True for arms that differ in any answer of a seed that both have, (arms, arms)."""
    distances_AA = [
        np.nan_to_num(np.abs(scores_ASE - own_SE)).max(axis=(1, 2), initial=0)
        for own_SE in scores_ASE
    ]
    result: NDArray[np.bool_] = np.array(distances_AA) > ROUNDING
    return result


def _of_difference(covariance_AA: Array, first: int, second: int) -> float:
    """Variance of the difference of two; 0 where its estimate is below."""
    variances = covariance_AA[first, first] + covariance_AA[second, second]
    return max(0.0, float(variances - 2 * covariance_AA[first, second]))


def combined_df(
    by_seeds: float | Array, seed_df: float, by_examples: float, example_df: float = math.inf
) -> Array:
    """Degrees of freedom of the sum of two variances.

    Satterthwaite (Biometrics Bull. 2, 1946), with the seeds' part counted `SEED_WEIGHT` times: of
    3 seeds its estimate is too small more often than not, and then his degrees of freedom, which
    rest on its share, are too many as well.
    """
    weighed = SEED_WEIGHT * np.asarray(by_seeds)
    squares = weighed**2 / seed_df + by_examples**2 / example_df
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(squares > 0, (weighed + by_examples) ** 2 / squares, np.inf)


def _quantile(df: float) -> float:
    return float(stdtrit(min(df, MOST_DF), (1 + CONFIDENCE) / 2))


def _wilson(value: float, num_examples: float) -> Estimate:
    """Wilson's interval of a share (J. Am. Stat. Assoc. 22, 1927)."""
    square = Z**2 / num_examples
    centre = value + square / 2
    half = math.sqrt(square * (value * (1 - value) + square / 4))
    low, high = (centre - half) / (1 + square), (centre + half) / (1 + square)
    return Estimate(value, min(value, max(0.0, low)), max(value, min(1.0, high)))
