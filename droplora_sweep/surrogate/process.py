"""A Gaussian process over the trials of a search, and what it says of settings.

Hyperparameters are those of maximum posterior density: for 6 to 60 trials the likelihood alone
would often say that a parameter does nothing, or everything. The fit starts from the priors' modes,
draws nothing, and takes a bounded number of steps, so that it is the same each time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .collapses import Collapses, have_collapsed
from .coordinates import places
from .kernel import Gaps, Hyperparameters

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from droplora_sweep.spec import Scalar

    from .coordinates import Array, Coordinate

FEWEST_TRIALS = 6
"""With fewer there is no fit."""
MOST_TRIALS = 160
"""Trials that a fit uses: work grows with their cube. Of more, half are the best, half the last."""
MOST_STEPS = 40
"""Of the optimiser."""

SMALLEST_SPREAD = 0.002
"""Scores, as fractions, that lie closer together than this are taken as spread by so much."""
LOWEST = 4.0
"""A score further below the median than this many times the distance from the median to the best
tenth counts as being there: how deep a collapse is says nothing about the settings that do not."""

# Medians, and standard deviations of the logarithm, of log-normal priors.
AMPLITUDE = (0.5, 0.8)
INTERACTION = (0.5, 0.7)
CATEGORY_INTERACTION = (1.0, 0.5)
"""A method may have a best rate of its own, which its few trials must be free to show. In
`tests/search/search_worlds.py` that found it more often than the median of other pairs."""
LENGTH = (0.6, 0.5)
"""A score has at most about one bend within a range."""
SEED_NOISE = (0.01, 0.7)
"""A fraction: fine-tuning again with another seed changes a score by 0.3 to 4 points (Dodge et al.,
arXiv 2002.06305, and this package's own sweeps)."""
LABEL_NOISE = (0.1, 0.7)
"""Of labels that are 1 for a collapse: by chance it strikes one trial in a hundred, or in ten."""


@dataclass(frozen=True, eq=False)
class Observations:
    """Scores of trials.

    Attributes:
        settings: Raw values of each.
        scores: As fractions.
        variances: The part of each score's variance that is known.
    """

    settings: Sequence[Mapping[str, Scalar]]
    scores: Array
    variances: Array

    def __len__(self) -> int:
        return len(self.scores)

    def bounded(self) -> Observations:
        """Return the best half and the last of `MOST_TRIALS`, in their order."""
        if len(self) <= MOST_TRIALS:
            return self
        best = np.argsort(-self.scores, kind="stable")[: MOST_TRIALS // 2]
        is_kept = np.isin(np.arange(len(self)), best)
        is_kept[np.flatnonzero(~is_kept)[-(MOST_TRIALS - len(best)) :]] = True
        return self.where(is_kept)

    def where(self, is_kept: NDArray[np.bool_]) -> Observations:
        """Return those of the trials for which this is True, in their order."""
        settings = [one for one, kept in zip(self.settings, is_kept, strict=True) if kept]
        return Observations(settings, self.scores[is_kept], self.variances[is_kept])


class Posterior:
    """Expected score of settings, given the trials; in fractions.

    Args:
        coordinates: Of the space.
        observations: At most `MOST_TRIALS`.
        hyperparameters: In units of ``unit``.
        level: The scores' mean.
        unit: Their spread.
        collapses: Where the next ones are expected; None where no trial has collapsed.
    """

    def __init__(
        self,
        coordinates: Sequence[Coordinate],
        observations: Observations,
        hyperparameters: Hyperparameters,
        *,
        level: float,
        unit: float,
        collapses: Collapses | None = None,
    ) -> None:
        self.hyperparameters = hyperparameters
        self._coordinates = coordinates
        self._observations = observations
        self._level = level
        self._unit = unit
        self._collapses = collapses
        self._places = places(coordinates, observations.settings)
        gaps = Gaps(coordinates, self._places, self._places)
        noise = observations.variances / unit**2 + hyperparameters.noise**2
        self._root = np.linalg.cholesky(gaps.covariance(hyperparameters) + np.diag(noise))
        self._whitened = _solve(self._root, (observations.scores - level) / unit)

    def __call__(self, settings: Sequence[Mapping[str, Scalar]]) -> tuple[Array, Array]:
        """Return mean and covariance of the expected scores of settings."""
        mean, covariance = self._without_collapses(settings)
        if self._collapses is not None:
            expected = self._collapses.are_expected(settings)
            mean = np.where(expected, np.minimum(mean, self._collapses.floor), mean)
        return mean, covariance

    def _without_collapses(self, settings: Sequence[Mapping[str, Scalar]]) -> tuple[Array, Array]:
        found = places(self._coordinates, settings)
        across = Gaps(self._coordinates, self._places, found).covariance(self.hyperparameters)
        own = Gaps(self._coordinates, found, found).covariance(self.hyperparameters)
        reach = _solve(self._root, across)
        mean = self._level + self._unit * (reach.T @ self._whitened)
        return mean, self._unit**2 * (own - reach.T @ reach)

    def draws(
        self, settings: Sequence[Mapping[str, Scalar]], num_draws: int, seed: int
    ) -> tuple[Array, Array]:
        """Return means, and draws of shape (draws, settings) of the expected scores together."""
        mean, covariance = self(settings)
        jitter = 1e-9 * self._unit**2 + 1e-8 * float(np.trace(covariance)) / len(mean)
        root = np.linalg.cholesky(covariance + jitter * np.eye(len(mean)))
        normal = np.random.default_rng(seed).standard_normal((num_draws, len(mean)))
        return mean, mean + normal @ root.T

    def with_fantasies(self, settings: Sequence[Mapping[str, Scalar]]) -> Posterior:
        """Return the posterior as if trials under way had scored what is expected of them.

        Expectations stay; doubts about these settings and their neighbours shrink (the kriging
        believer of Ginsbourger, Le Riche and Carraro, 2010).
        """
        if not settings:
            return self
        mean, _ = self._without_collapses(settings)
        known = self._observations
        more = Observations(
            [*known.settings, *settings],
            np.concatenate([known.scores, mean]),
            np.concatenate([known.variances, np.full(len(mean), np.median(known.variances))]),
        )
        return Posterior(
            self._coordinates,
            more,
            self.hyperparameters,
            level=self._level,
            unit=self._unit,
            collapses=self._collapses,
        )


def fit(coordinates: Sequence[Coordinate], observations: Observations) -> Posterior | None:
    """Return the posterior of the expected score over the space.

    Args:
        coordinates: Of the space.
        observations: The trials.

    Returns:
        None with fewer than `FEWEST_TRIALS`, or where all scores are equal.
    """
    if len(observations) < FEWEST_TRIALS or np.ptp(observations.scores) < 1e-12:
        return None
    kept = observations.bounded()
    above = _above_median(kept.scores)
    are_lost = have_collapsed(kept.scores, above)
    collapses = None
    if are_lost.any() and len(kept) - are_lost.sum() >= FEWEST_TRIALS:
        labels = Observations(kept.settings, are_lost.astype(np.float64), np.zeros(len(kept)))
        lost, kept = kept.where(are_lost), kept.where(~are_lost)
        floor = float(kept.scores.min()) - above
        collapses = Collapses(_fitted(coordinates, labels, LABEL_NOISE), lost.settings, floor)
    scores = np.maximum(kept.scores, np.median(kept.scores) - LOWEST * _above_median(kept.scores))
    kept = Observations(kept.settings, scores, kept.variances)
    return _fitted(coordinates, kept, SEED_NOISE, collapses)


def _fitted(
    coordinates: Sequence[Coordinate],
    observations: Observations,
    noise: tuple[float, float],
    collapses: Collapses | None = None,
) -> Posterior:
    scores = observations.scores
    level, unit = float(scores.mean()), max(float(scores.std()), SMALLEST_SPREAD)
    values = _most_probable(coordinates, observations, noise, level, unit)
    return Posterior(coordinates, observations, values, level=level, unit=unit, collapses=collapses)


def _above_median(scores: Array) -> float:
    """Distance from the median to the best tenth, which no collapse changes."""
    return max(float(np.quantile(scores, 0.9) - np.median(scores)), SMALLEST_SPREAD)


def _most_probable(
    coordinates: Sequence[Coordinate],
    observations: Observations,
    noise: tuple[float, float],
    level: float,
    unit: float,
) -> Hyperparameters:
    # scipy takes longer to import than reading a sweep without a confirmation does.
    from scipy.optimize import minimize

    found = places(coordinates, observations.settings)
    gaps = Gaps(coordinates, found, found)
    scores = (observations.scores - level) / unit
    known = observations.variances / unit**2
    seed_noise = (noise[0] / unit, noise[1])
    priors = [
        *[AMPLITUDE] * len(coordinates),
        INTERACTION,
        CATEGORY_INTERACTION,
        *[LENGTH] * 2,
        seed_noise,
    ]
    modes, spreads = np.log([one[0] for one in priors]), np.array([one[1] for one in priors])
    identity = np.eye(len(scores))

    def loss(logs: Array) -> tuple[float, Array]:
        values = Hyperparameters.of(logs)
        covariance, slopes = gaps.gradients(values)
        own_noise = values.noise**2 * identity
        root = np.linalg.cholesky(covariance + np.diag(known) + own_noise)
        inverse_root = _solve(root, identity)
        inverse = inverse_root.T @ inverse_root
        weights = inverse @ scores
        outer = inverse - np.outer(weights, weights)
        by_log = [0.5 * float(np.sum(outer * one)) for one in (*slopes, 2 * own_noise)]
        misfit = 0.5 * float(scores @ weights) + float(np.log(np.diag(root)).sum())
        away = (logs - modes) / spreads
        return misfit + 0.5 * float(away @ away), np.array(by_log) + away / spreads

    limits = [
        (mode - 4 * spread, mode + 4 * spread) for mode, spread in zip(modes, spreads, strict=True)
    ]
    result: Any = minimize(
        loss, modes, jac=True, method="L-BFGS-B", bounds=limits, options={"maxiter": MOST_STEPS}
    )
    return Hyperparameters.of(result.x)


def _solve(root: NDArray[np.floating[Any]], right: Array) -> Array:
    """Solve a lower triangular system."""
    from scipy.linalg import solve_triangular

    result: Array = solve_triangular(root, right, lower=True, check_finite=False)
    return result
