"""How much of the spread between runs comes from seeds, and how much from examples.

Scores of arm a, seed s, example e are taken as crossed random effects, with nothing assumed of
their distribution but means and variances::

    score = arm_a + seed_s + example_e + (arm x seed)_as + (arm x example)_ae + rest_ase

In the difference of two arms whatever they share cancels, and the variance of its mean over S
seeds and E examples is ``var(arm x seed) / S + var(arm x example) / E + var(rest) / (S E)``, each
taken over both arms. The first and last are what the seeds' mean differences vary by, estimated
with the few degrees of freedom that few seeds leave; the second is estimated by the covariance,
over examples, of differences from *different* seeds, which the rest does not enter. A t
distribution with Satterthwaite's degrees of freedom follows. That is how readers and cases are
handled in medical imaging studies, where readers are as few as seeds are here: Obuchowski and
Rockette (Communications in Statistics 24, 1995), with the degrees of freedom of Hillis (Stat.
Med. 26, 2007). Resampling seeds and examples instead (a plain bootstrap) counts the rest more than
once (Owen, Ann. Appl. Stat. 1, 2007) and the seeds too little: among 3 seeds a resample's variance
is 2/3 of theirs, and normal quantiles stand for those of t. Where seeds matter most its intervals
are far too short.

The seeds' part is pooled over the arms, as in Dunnett's comparison with a control (JASA 50,
1955): 4 arms and 3 seeds leave 6 degrees of freedom for each pair, instead of 2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import t as student

from .intervals import CONFIDENCE, Estimate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from .confirmation import Array

FEWEST_DF = 2
"""With 1 (two arms, two seeds), intervals cover 91 % instead of 95 %."""
LEAST_SHARE = 0.5
MOST_DF = 1e6


@dataclass(frozen=True)
class Difference:
    """First arm minus second.

    Attributes:
        estimate: With its 95 % interval over new seeds and new examples, for this pair alone.
        standard_error: Of the value.
        seed_variance: Part of the squared standard error that more seeds shrink.
        example_variance: Part that only more examples shrink.
        degrees_of_freedom: Of the t distribution.
        p_value: Two-sided, for "no difference", as if the pair had been named in advance.
    """

    estimate: Estimate
    standard_error: float
    seed_variance: float
    example_variance: float
    degrees_of_freedom: float
    p_value: float


@dataclass(frozen=True, eq=False)
class Components:
    """Means of arms and what they vary by, for one benchmark or the mean of several.

    Attributes:
        means: Mean score of each arm, shape (arms,); where an arm lacks a seed, adjusted for what
            that seed does to the other arms.
        precision: Covariance of ``means`` over seeds, (arms, arms), in units of
            ``interaction_variance``.
        interaction_variance: Variance of a run's mean score around arm plus seed.
        interaction_df: Its degrees of freedom.
        seed_variance: Variance of a run's mean score over all that a new seed changes.
        seed_df: Its degrees of freedom (Satterthwaite).
        example_covariance: Covariance of ``means`` over examples, (arms, arms).
        num_seeds: Runs of each arm, (arms,).
        num_examples: Examples that some run was scored on, over all benchmarks.
    """

    means: Array
    precision: Array
    interaction_variance: float
    interaction_df: float
    seed_variance: float
    seed_df: float
    example_covariance: Array
    num_seeds: Array
    num_examples: int

    def difference(self, first: int, second: int) -> Difference:
        """Compare two arms."""
        contrast_A = np.zeros(len(self.means))
        contrast_A[first], contrast_A[second] = 1, -1
        value = float(contrast_A @ self.means)
        by_seeds = float(contrast_A @ self.precision @ contrast_A) * self.interaction_variance
        by_examples = max(0.0, float(contrast_A @ self.example_covariance @ contrast_A))
        if by_seeds + by_examples == 0 and value == 0:
            half = self._half_width_of_no_disagreement()
            return Difference(Estimate(0, -half, half), half / 2, half**2 / 4, 0, math.inf, 1.0)
        error, df = _error(by_seeds, self.interaction_df, by_examples, self.num_examples - 1)
        p_value = 2 * float(student.sf(abs(value) / error, df)) if error else 0.0
        estimate = _interval(value, error, df, -1.0)
        return Difference(estimate, error, by_seeds, by_examples, df, p_value)

    def mean(self, arm: int) -> Estimate:
        """An arm's mean score, with its 95 % interval over new seeds and new examples."""
        by_seeds = self.seed_variance / float(self.num_seeds[arm])
        by_examples = max(0.0, float(self.example_covariance[arm, arm]))
        error, df = _error(by_seeds, self.seed_df, by_examples, self.num_examples - 1)
        return _interval(float(self.means[arm]), error, df, 0.0)

    def _half_width_of_no_disagreement(self) -> float:
        """Two arms without any disagreement: how often they may still disagree.

        The upper 97.5 % limit of a share of which none was seen (Hanley and Lippman-Hand, JAMA
        249, 1983), counting examples once, however many seeds they were seen with.
        """
        return 1 - ((1 - CONFIDENCE) / 2) ** (1 / self.num_examples)


def components(parts: Sequence[Array]) -> Components:
    """Estimate the components of the unweighted mean over benchmarks.

    Args:
        parts: Per benchmark, ``scores_ASE`` of shape (arms, seeds, examples), NaN where missing.
            Each arm has a run that shares a seed with another's (see `comparable`), and there
            are runs enough for 2 degrees of freedom: 2 arms with 3 seeds, or 3 arms with 2.
    """
    means_AS = run_means(parts)
    present_AS = np.isfinite(means_AS)
    num_arms, num_seeds = means_AS.shape
    arm_index, seed_index = np.nonzero(present_AS)
    design = np.zeros((len(arm_index), num_arms + num_seeds - 1))
    design[np.arange(len(arm_index)), arm_index] = 1
    # Effects of seeds add up to 0, so that an arm's effect is its mean over all seeds.
    to_effects = np.vstack([np.eye(num_seeds - 1), -np.ones(num_seeds - 1)])
    design[:, num_arms:] = to_effects[seed_index]
    inverse = np.linalg.inv(design.T @ design)
    fitted = inverse @ design.T @ means_AS[present_AS]
    residual = means_AS[present_AS] - design @ fitted
    residual_df = len(residual) - design.shape[1]
    assert residual_df >= FEWEST_DF, "more runs are needed"
    found = [_covariances(part) for part in parts]
    interaction_variance, interaction_df = _raised(
        float(residual @ residual) / residual_df,
        residual_df,
        LEAST_SHARE * sum(noise for _, noise in found) / len(parts) ** 2,
    )
    effects_S = to_effects @ fitted[num_arms:]
    seed_square = num_arms * float(effects_S @ effects_S) / (num_seeds - 1)
    seed_variance, seed_df = _total_seed_variance(
        seed_square, num_seeds - 1, interaction_variance, interaction_df, num_arms
    )
    return Components(
        means=fitted[:num_arms],
        precision=inverse[:num_arms, :num_arms],
        interaction_variance=interaction_variance,
        interaction_df=interaction_df,
        seed_variance=seed_variance,
        seed_df=seed_df,
        example_covariance=np.sum([part_AA for part_AA, _ in found], axis=0) / len(parts) ** 2,
        num_seeds=present_AS.sum(axis=1).astype(np.float64),
        num_examples=sum(int(np.isfinite(part).any(axis=(0, 1)).sum()) for part in parts),
    )


def run_means(parts: Sequence[Array]) -> Array:
    """Mean score of each run, ``means_AS``; NaN where a benchmark has no score at all."""
    present = [np.isfinite(part) for part in parts]
    with np.errstate(invalid="ignore"):
        means = [
            np.where(here, part, 0).sum(axis=2) / here.sum(axis=2)
            for part, here in zip(parts, present, strict=True)
        ]
    result: Array = np.mean(means, axis=0)
    return result


def _covariances(scores_ASE: Array) -> tuple[Array, float]:
    """Covariance of the arms' means that comes from the choice of examples, and a run's own noise.

    Runs of different seeds share nothing but arm and example effects: the mean of their
    covariances over examples estimates the variance of those, and divided by the number of
    examples that of their mean, ``(arms, arms)``. What a run's variance over examples has beyond
    that, and beyond what runs of the same seed share, is noise that varies its mean, whatever
    the seed does.
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
    own_AA = averaged(usable_ASAS & same_seed) - example_AA
    noise = _mean_on_diagonal(own_AA) - _mean_off_diagonal(own_AA)
    return example_AA, max(0.0, noise)


def _mean_on_diagonal(matrix: Array) -> float:
    return float(np.trace(matrix)) / len(matrix)


def _mean_off_diagonal(matrix: Array) -> float:
    return float(matrix.sum() - np.trace(matrix)) / (len(matrix) * (len(matrix) - 1))


def _raised(variance: float, df: int, least: float) -> tuple[float, float]:
    """The variance, or the least it can plausibly be; with its degrees of freedom.

    Of few runs, some are alike by luck. The noise of single answers is known from many examples,
    and runs vary at least by that. Half of it as the least keeps the intervals at 95 % with 2 or
    3 degrees of freedom (93 % without, 97 % and more with all of it).
    """
    if variance >= least:
        return variance, df
    # Satterthwaite's weight stays that of the variance that was seen.
    return least, min(df * (least / variance) ** 2, MOST_DF) if variance else MOST_DF


def _total_seed_variance(
    seed_square: float, seed_df: int, interaction: float, interaction_df: float, num_arms: int
) -> tuple[float, float]:
    """Variance of one run's mean over seeds: what a seed does to all arms plus what to one."""
    shared, own = seed_square / num_arms, (1 - 1 / num_arms) * interaction
    squares = shared**2 / seed_df + own**2 / interaction_df
    return shared + own, ((shared + own) ** 2 / squares if squares else math.inf)


def _error(
    by_seeds: float, seed_df: float, by_examples: float, example_df: float
) -> tuple[float, float]:
    """Standard error of a sum of two variances, and its degrees of freedom.

    Satterthwaite (Biometrics Bull. 2, 1946).
    """
    variance = by_seeds + by_examples
    squares = by_seeds**2 / seed_df + by_examples**2 / max(example_df, 1)
    return math.sqrt(variance), (variance**2 / squares if squares else math.inf)


def _interval(value: float, error: float, df: float, lowest: float) -> Estimate:
    half = float(student.ppf((1 + CONFIDENCE) / 2, df)) * error if error else 0.0
    return Estimate(value, max(lowest, value - half), min(1.0, value + half))
