"""Accuracy and likelihood as two views of one quality: does a model of both pick better settings?

``python -m tests.search.two_views [NUM [WORLD…]]`` prints the guide's table: random searches in
worlds of known truth, in which each trial has a second score whose truth correlates with that of
the first, and whose noise has a third of the variance, as was measured of likelihoods. No part of
the package has this model: the study says what there is to be gained.

The model is the package's own process for each view, with one kernel for both (intrinsic
coregionalisation: Goovaerts, Geostatistics for Natural Resources Evaluation, 1997; Bonilla, Chai
and Williams, Multi-task Gaussian Process Prediction, NeurIPS 2007)::

    cov(f_i(x), f_j(x')) = B_ij k(x, x'),  B = [[1, rho], [rho, 1]]

The correlation rho, and that of the views' noise, are fitted with all other hyperparameters, with
priors around 0: the second view counts in so far as the trials show that it tells of the first.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
from scipy.linalg import cho_solve
from scipy.optimize import minimize

from droplora_sweep.surrogate import process
from droplora_sweep.surrogate.coordinates import coordinates_of, places
from droplora_sweep.surrogate.kernel import Gaps, Hyperparameters
from droplora_sweep.surrogate.observed import observations
from tests.search.search_worlds import LR, RANK, RATE, RATES, WORLDS, Trial, World, search

if TYPE_CHECKING:
    from collections.abc import Sequence

    from droplora_sweep.surrogate.coordinates import Coordinate

CORRELATIONS = (0.9, 0.6, 0.0, -0.9)
NOISE = math.sqrt(0.3 / 0.9)
"""Of the second view, relative to the first's: the guide's variances between settings over those
of seeds."""
SPREAD_OF_CORRELATION = 0.5
"""Standard deviation of the priors of both correlations, of their inverse hyperbolic tangents."""
SECOND_NOISE = (0.4, 0.7)
NUM_DRAWS = 4000


@dataclass(frozen=True, eq=False)
class Fit:
    """Hyperparameters of both views, and the covariance of the trials under them.

    Attributes:
        kernel: Of the kernel; its noise is the first view's.
        second_noise: Of the second view, in units of its spread.
        correlation: Of what the views tell of a setting.
        noise_correlation: Of what another seed does to them.
    """

    kernel: Hyperparameters
    second_noise: float
    correlation: float
    noise_correlation: float

    @staticmethod
    def of(values: Any) -> Fit:
        second, correlation, of_noise = np.exp(values[-3]), *np.tanh(values[-2:])
        return Fit(Hyperparameters.of(values[:-3]), second, correlation, of_noise)

    def covariance(self, shared: Any, known: Any) -> Any:
        """Of both views' scores at the trials, given the kernel there and known variances."""
        eye = np.eye(len(shared))
        first, second = self.kernel.noise, self.second_noise
        across = self.correlation * shared + self.noise_correlation * first * second * eye
        blocks = [[shared + first**2 * eye, across], [across, shared + second**2 * eye]]
        return np.block(blocks) + np.diag(np.concatenate([known, np.zeros_like(known)]) + 1e-8)


class TwoViews:
    """Posterior of the first view, given both.

    Args:
        coordinates: Of the space.
        seen: First view of the trials.
        second: Second view of them.
    """

    def __init__(
        self, coordinates: Sequence[Coordinate], seen: process.Observations, second: Any
    ) -> None:
        self._coordinates, self._seen = coordinates, seen
        self._level, self._unit = seen.scores.mean(), seen.scores.std()
        self._known = seen.variances / self._unit**2
        first = (seen.scores - self._level) / self._unit
        self._scores = np.concatenate([first, (second - second.mean()) / second.std()])
        self._places = places(coordinates, seen.settings)
        self._gaps = Gaps(coordinates, self._places, self._places)
        own = (process.SEED_NOISE[0] / self._unit, process.SEED_NOISE[1])
        priors = [*[process.AMPLITUDE] * len(coordinates), process.INTERACTION]
        priors += [process.CATEGORY_INTERACTION, *[process.LENGTH] * 2, own, SECOND_NOISE]
        self.modes = np.array([*np.log([one[0] for one in priors]), 0.0, 0.0])
        self.spreads = np.array([*(one[1] for one in priors), *[SPREAD_OF_CORRELATION] * 2])
        limits = np.stack([self.modes - 4 * self.spreads, self.modes + 4 * self.spreads], axis=1)
        found = minimize(
            self.loss,
            self.modes,
            jac=True,
            method="L-BFGS-B",
            bounds=limits,
            options={"maxiter": 40},
        )
        self.fit = Fit.of(found.x)

    def loss(self, values: Any) -> tuple[float, Any]:
        """Negative log posterior density of the hyperparameters, and its slopes."""
        fit, num = Fit.of(values), len(self._seen)
        shared, slopes = self._gaps.gradients(fit.kernel)
        root = np.linalg.cholesky(fit.covariance(shared, self._known))
        inverse = cho_solve((root, True), np.eye(2 * num))
        weights = inverse @ self._scores
        outer = inverse - np.outer(weights, weights)
        first, across, second = outer[:num, :num], outer[:num, num:], outer[num:, num:]
        by_kernel = 0.5 * (first + second) + fit.correlation * across
        product = fit.kernel.noise * fit.second_noise
        both = fit.noise_correlation * product * np.trace(across)
        found = [
            *(np.sum(by_kernel * one) for one in slopes),
            fit.kernel.noise**2 * np.trace(first) + both,
            fit.second_noise**2 * np.trace(second) + both,
            (1 - fit.correlation**2) * np.sum(across * shared),
            (1 - fit.noise_correlation**2) * product * np.trace(across),
        ]
        away = (values - self.modes) / self.spreads
        misfit = 0.5 * self._scores @ weights + np.log(np.diag(root)).sum()
        return float(misfit + 0.5 * away @ away), np.array(found) + away / self.spreads

    def __call__(self, settings: Any) -> tuple[Any, Any]:
        """Mean and covariance of the first view's expected scores."""
        found = places(self._coordinates, settings)
        fit = self.fit
        shared = self._gaps.covariance(fit.kernel)
        root = np.linalg.cholesky(fit.covariance(shared, self._known))
        reach = Gaps(self._coordinates, self._places, found).covariance(fit.kernel)
        reach = np.vstack([reach, fit.correlation * reach])
        solved = cho_solve((root, True), reach)
        own = Gaps(self._coordinates, found, found).covariance(fit.kernel)
        mean = self._level + self._unit * (solved.T @ self._scores)
        return mean, self._unit**2 * (own - reach.T @ solved)


def second_view(world: World, trials: list[Trial], correlation: float, generator: Any) -> Any:
    """Scores whose truth correlates with that of the first view, in its points."""
    truth = np.array([world.truth(one.drawn) for one in trials])
    noise = np.std(100 * np.array([one.score for one in trials]) - truth)
    positions = np.array(
        [
            (
                one.drawn[RATE],
                math.log(one.drawn[LR] / 1e-4) / math.log(100),
                math.log2(one.drawn[RANK] / 4) / 3,
            )
            for one in trials
        ]
    )
    bends, slopes = generator.standard_normal((2, 3))
    other = -6 * (positions - generator.random(3)) ** 2 @ bends + 2 * positions @ slopes
    other = (other - other.mean()) / other.std() * truth.std()
    mixed = correlation * truth + math.sqrt(1 - correlation**2) * other
    return mixed + NOISE * noise * generator.standard_normal(len(trials))


def first_picks(mean: Any, covariance: Any, trials: list[Trial]) -> list[Trial]:
    """Each rate's trial of the best expectation, the likeliest to be the best first."""
    found: dict[float, int] = {}
    for index in np.argsort(-mean, kind="stable"):
        found.setdefault(trials[index].rate, int(index))
    arms = list(found.values())
    root = np.linalg.cholesky(covariance[np.ix_(arms, arms)] + 1e-12 * np.eye(len(arms)))
    normal = np.random.default_rng(0).standard_normal((NUM_DRAWS, len(arms)))
    wins = np.bincount((mean[arms] + normal @ root.T).argmax(axis=1), minlength=len(arms))
    return [trials[arms[index]] for index in np.argsort(-wins, kind="stable")]


def assess(name: str, seeds: range) -> dict[str, tuple[float, ...]]:
    """Shares of the best rate among three and first, regret in points, and the correlation."""
    world = WORLDS[name]
    best = {rate: world.best_of(rate) for rate in RATES}
    right = {rate for rate in RATES if best[rate] > max(best.values()) - 1e-9}
    rows: dict[str, list[tuple[float, ...]]] = {}
    for seed in seeds:
        trials = search(world, "random", seed)
        settings = [one.drawn for one in trials]
        coordinates = coordinates_of(world.sweep("random", seed).search.parameters)
        seen = observations([one.observed for one in trials], ["b"])
        models: dict[str, Any] = {"accuracy alone": process.fit(coordinates, seen)}
        for correlation in CORRELATIONS:
            second = second_view(world, trials, correlation, np.random.default_rng([seed, 7]))
            models[f"and {correlation:g}"] = TwoViews(coordinates, seen, second)
        for label, model in models.items():
            arms = first_picks(*model(settings), trials)
            regret = max(best.values()) - world.truth(arms[0].drawn)
            fitted = getattr(model, "fit", None)
            rows.setdefault(label, []).append(
                (
                    bool(right & {one.rate for one in arms[:3]}),
                    arms[0].rate in right,
                    regret,
                    fitted.correlation if isinstance(fitted, Fit) else 0.0,
                )
            )
    return {label: tuple(map(float, np.mean(some, axis=0))) for label, some in rows.items()}


NAMES = ("100 examples", "needs its learning rate", "p = 0 is best", "unequal noise of seeds")


def main(num: str = "24", *names: str) -> None:
    """Print a line for each world and correlation."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    for name in names or NAMES:
        for label, one in assess(name, range(int(num))).items():
            sys.stdout.write(
                f"{name:26}{label:16}{one[0]:7.1%}{one[1]:7.1%}{one[2]:7.2f}{one[3]:7.2f}\n"
            )
            sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
