"""Importance of the searched parameters for the score, by fANOVA.

Functional ANOVA (Hutter, Hoos and Leyton-Brown, ICML 2014) fits a random forest to the scores and
gives each parameter the share of the forest's variance that it explains on its own. With few
trials the shares say as much about luck as about parameters, so each is shown with the range over
bootstrap samples of the trials.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from droplora_sweep.spec.metric_names import score_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import optuna
    from optuna.distributions import BaseDistribution

    from droplora_sweep.records.trial import TrialRecord
    from droplora_sweep.spec import Scalar

    from .facts import Facts


FEWEST_TRIALS = 10
NUM_TREES = 32
NUM_BOOTSTRAPS = 10
MOST_KINDS = 8
"""A number that took more values than this is a continuous parameter."""
WIDE = 10.0
UNUSED = "not used"
"""Value of a parameter that a trial's other settings leave without a meaning."""


@dataclass(frozen=True)
class Share:
    """One parameter.

    Attributes:
        name: Dotted path.
        value: Share of the variance, in [0, 1]; all shares add to 1.
        low: 10 % quantile over bootstrap samples.
        high: 90 % quantile.
    """

    name: str
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Importance:
    """Shares of the score's variance that parameters explain.

    Attributes:
        subject: The benchmark or mean, and the evaluation.
        shares: From the largest down; empty where ``reason`` is given.
        num_trials: Trials it rests on.
        reason: The reason why there are none, else "".
    """

    subject: str
    shares: tuple[Share, ...]
    num_trials: int
    reason: str = ""

    @property
    def alt(self) -> str:
        """The shares in words."""
        listed = ", ".join(
            f"{one.name} {one.value:.0%} ({one.low:.0%} to {one.high:.0%})" for one in self.shares
        )
        return f"Share of the variance of {self.subject} that each parameter explains: {listed}."


def importance(facts: Facts) -> Importance:
    """Evaluate the search's trials; the same trials give the same shares.

    Scores are compared after the same length of training: at the end where enough trials are
    complete, else at the last evaluation that enough trials came to before any was stopped.
    """
    subject = facts.subjects[0]
    evaluation, scored = _compared(facts, score_name(subject))
    names = list(dict.fromkeys(name for trial, _ in scored for name in trial.drawn))
    rows = [{name: trial.drawn.get(name) for name in names} for trial, _ in scored]
    scores = [score for _, score in scored]
    varied = [name for name in names if len({str(row[name]) for row in rows}) > 1]
    when = f"{subject} at evaluation {evaluation}"
    if len(scored) < FEWEST_TRIALS:
        reason = f"needs {FEWEST_TRIALS} trials that trained equally long, got {len(scored)}"
    elif len(set(scores)) < 2:
        reason = f"all {len(scored)} trials have the same score"
    elif len(varied) < 2:
        reason = "needs two parameters that vary"
    else:
        return Importance(when, _shares(rows, scores, varied), len(scored))
    return Importance(when, (), len(scored), reason)


def _compared(facts: Facts, metric: str) -> tuple[int, list[tuple[TrialRecord, float]]]:
    """The last evaluation that enough trials came to, or the first, and their scores there."""
    scores: dict[int, list[tuple[TrialRecord, float]]] = {}
    for trial in facts.searched:
        for report in trial.evaluations:
            score = report.metrics.get(metric, math.nan)
            if math.isfinite(score):
                scores.setdefault(report.number, []).append((trial, score))
    enough = [number for number, found in scores.items() if len(found) >= FEWEST_TRIALS]
    evaluation = max(enough) if enough else min(scores, default=1)
    return evaluation, scores.get(evaluation, [])


def _shares(
    rows: Sequence[Mapping[str, Scalar | None]], scores: Sequence[float], names: Sequence[str]
) -> tuple[Share, ...]:
    space = {name: _distribution([row[name] for row in rows]) for name in names}
    found = _evaluate(rows, scores, space)
    generator = random.Random(0)
    samples = []
    for _ in range(NUM_BOOTSTRAPS):
        picked = generator.choices(range(len(rows)), k=len(rows))
        drawn = [scores[index] for index in picked]
        if len(set(drawn)) > 1:
            samples.append(_evaluate([rows[index] for index in picked], drawn, space))
    shares = []
    for name in sorted(names, key=lambda name: (-found[name], name)):
        spread = [sample[name] for sample in samples] or [found[name]]
        low, high = (float(value) for value in np.quantile(spread, [0.1, 0.9]))
        shares.append(Share(name, found[name], low, high))
    return tuple(shares)


def _evaluate(
    rows: Sequence[Mapping[str, Scalar | None]],
    scores: Sequence[float],
    space: Mapping[str, BaseDistribution],
) -> dict[str, float]:
    """Each parameter's share, from a study in memory."""
    # Optuna's evaluators take seconds to import; a report without them does not need it.
    from optuna.importance import FanovaImportanceEvaluator, get_param_importances

    evaluator = FanovaImportanceEvaluator(n_trees=NUM_TREES, seed=0)
    study = _study(rows, scores, space)
    return get_param_importances(study, evaluator=evaluator, params=list(space))


def _study(
    rows: Sequence[Mapping[str, Scalar | None]],
    scores: Sequence[float],
    space: Mapping[str, BaseDistribution],
) -> optuna.Study:
    import optuna
    from optuna.distributions import CategoricalDistribution

    # Optuna tells of every study it makes, which is no news here.
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize")
    study.add_trials(
        [
            optuna.trial.create_trial(
                params={
                    name: _kind(row[name])
                    if isinstance(distribution, CategoricalDistribution)
                    else row[name]
                    for name, distribution in space.items()
                },
                distributions=dict(space),
                value=score,
            )
            for row, score in zip(rows, scores, strict=True)
        ]
    )
    return study


def _distribution(values: Sequence[Scalar | None]) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    numbers = [
        float(value)
        for value in values
        if isinstance(value, int | float) and not isinstance(value, bool)
    ]
    if len(numbers) < len(values) or len(set(numbers)) <= MOST_KINDS:
        return CategoricalDistribution(sorted({_kind(value) for value in values}))
    low, high = min(numbers), max(numbers)
    return FloatDistribution(low, high, log=low > 0 and high >= WIDE * low)


def _kind(value: Scalar | None) -> str:
    return UNUSED if value is None else str(value)
