"""The score as a function of the pruning rate alone, as far as search-stage trials tell.

In a search everything varies at once. A Gaussian process (Rasmussen and Williams, Gaussian
Processes for Machine Learning, 2006, chapter 2) is fitted to the scores over all parameters that
varied, and averaged over the settings that were tried, so that each rate is judged with the same
ranks, learning rates and so on. That is exploratory: trials have one seed, and the search tried
promising settings more often than others.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .estimate import Estimate
from .evidence import benchmarks, candidates, has_rank, subjects_of
from .intervals import Z

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from droplora_sweep.records.trial import TrialRecord

    from .evidence import Array

FEWEST_TRIALS = 8
FEWEST_RATES = 3
MOST_RATES = 11
WIDE = 4.0
"""A positive parameter whose largest value is this many times its smallest is taken as a log."""


@dataclass(frozen=True)
class Marginal:
    """The score at each pruning rate, averaged over the other parameters.

    Attributes:
        benchmark: Its name, or ``mean``.
        points: Rate and score with its 95 % interval, ascending; empty where ``reason`` is given.
        num_trials: Complete trials it rests on.
        reason: The reason why there is none, else "".
    """

    benchmark: str
    points: tuple[tuple[float, Estimate], ...]
    num_trials: int
    reason: str = ""


def explore(records: Sequence[TrialRecord]) -> list[Marginal]:
    """Fit one marginal per benchmark, and for their mean where there are several."""
    records = [record for record in records if has_rank(record)]
    specs = {record.trial_id: record.spec for record in records}
    subjects = subjects_of(benchmarks(records))
    return [_marginal(subject, records, specs) for subject in subjects]


def _marginal(
    subject: str, records: Sequence[TrialRecord], specs: Mapping[str, Mapping[str, Any]]
) -> Marginal:
    scored = [one for one in candidates(records) if subject in one.scores]
    rates = np.array([one.pruning_rate for one in scored])
    tried = np.unique(rates)
    if len(scored) < FEWEST_TRIALS:
        reason = f"needs {FEWEST_TRIALS} complete trials, got {len(scored)}"
    elif len(tried) < FEWEST_RATES:
        reason = f"needs {FEWEST_RATES} different pruning rates, got {len(tried)}"
    else:
        scores = np.array([one.scores[subject] for one in scored])
        others = _columns([specs[one.trial_id] for one in scored])
        shown = tried if len(tried) <= MOST_RATES else np.linspace(tried[0], tried[-1], MOST_RATES)
        estimates = _fit(rates, others, scores, shown)
        points = tuple((float(rate), one) for rate, one in zip(shown, estimates, strict=True))
        return Marginal(subject, points, len(scored))
    return Marginal(subject, (), len(scored), reason)


def _fit(rates: Array, others: Array, scores: Array, shown: Array) -> list[Estimate]:
    """Posterior of the mean over the settings that were tried, at each rate."""
    # scikit-learn takes seconds to import; most uses of this package do not need it.
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

    spread = float(rates.std())
    inputs = np.column_stack([rates / spread, others])
    kernel = ConstantKernel(1.0, (1e-2, 1e2)) * Matern(
        np.ones(inputs.shape[1]), (0.5, 1e2), nu=2.5
    ) + WhiteKernel(0.1, (1e-3, 1e1))
    process = GaussianProcessRegressor(
        kernel, normalize_y=True, n_restarts_optimizer=2, random_state=0
    )
    with warnings.catch_warnings():
        # A length at its bound says that a parameter does not matter, which is no fault.
        warnings.simplefilter("ignore", ConvergenceWarning)
        process.fit(inputs, scores)
    noise = float(process.kernel_.k2.noise_level) * float(scores.std()) ** 2
    estimates = []
    for rate in shown:
        at_rate = inputs.copy()
        at_rate[:, 0] = rate / spread
        mean, covariance = process.predict(at_rate, return_cov=True)
        # The noise of single runs is on the diagonal; it is no part of the mean function.
        variance = (covariance.sum() - noise * len(mean)) / len(mean) ** 2
        half = Z * float(np.sqrt(max(variance, 0.0)))
        value = float(mean.mean())
        estimates.append(Estimate(value, max(0.0, value - half), min(1.0, value + half)))
    return estimates


def _columns(specs: Sequence[Mapping[str, Any]]) -> Array:
    """Every varied parameter of adapter and training but the rates, in comparable units.

    Numbers are scaled to a spread of 1, after a log where they span a wide range; other values
    become one column each.
    """
    flat = [
        {
            f"{part}.{name}": value
            for part in ("adapter", "training")
            for name, value in spec[part].items()
            if not name.endswith("pruning_rate") and name != "module_pruning_rates"
        }
        for spec in specs
    ]
    columns = []
    for name in flat[0]:
        values = [one[name] for one in flat]
        if all(isinstance(value, int | float) for value in values):
            numbers = np.array(values, dtype=np.float64)
            if numbers.min() > 0 and numbers.max() >= WIDE * numbers.min():
                numbers = np.log(numbers)
            columns.append(numbers)
        else:
            kinds = sorted({str(value) for value in values})
            columns.extend(
                np.array([float(str(value) == kind) for value in values]) for kind in kinds[1:]
            )
    varied = [column / column.std() for column in columns if column.std() > 0]
    return np.column_stack(varied) if varied else np.empty((len(specs), 0))


def marginal_text(marginal: Marginal) -> str:
    """One line: the score at each rate, or why there is none."""
    start = f"{marginal.benchmark}, exploratory, other parameters averaged out"
    if marginal.reason:
        return f"{start}: {marginal.reason}"
    points = (f"p = {rate:.2g} {one.as_score}" for rate, one in marginal.points)
    return f"{start} ({marginal.num_trials} trials): {'; '.join(points)}"
