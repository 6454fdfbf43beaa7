"""Score against pruning rate: the paper's Figure 2, with intervals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from droplora_sweep.analysis.intervals import Estimate
    from droplora_sweep.present.report.facts import Facts


@dataclass(frozen=True)
class RatePoint:
    """What is drawn at one rate.

    Attributes:
        pruning_rate: The rate.
        score: A fraction.
        estimate: The same with its 95 % interval; None where it has none.
    """

    pruning_rate: float
    score: float
    estimate: Estimate | None


@dataclass(frozen=True)
class RatePanel:
    """One benchmark, or the mean.

    Attributes:
        subject: Its name.
        points: The confirmed arms where there are any, else the best complete trial of each
            rate; ascending.
        is_confirmed: Which of the two they are.
        baseline: The point of p = 0; None where there is none.
        trials: Rate and score of every complete trial of the search.
        marginal: Score at each rate with other parameters averaged out; empty where confirmed.
    """

    subject: str
    points: tuple[RatePoint, ...]
    is_confirmed: bool
    baseline: RatePoint | None
    trials: tuple[tuple[float, float], ...]
    marginal: tuple[tuple[float, Estimate], ...]

    @property
    def alt(self) -> str:
        """The same in words, for who cannot see it."""
        if not self.points:
            return f"{self.subject}: no complete trial has a score."
        kind = "confirmed mean" if self.is_confirmed else "best score"
        listed = "; ".join(_words(point) for point in self.points)
        return f"{self.subject}, {kind} of each pruning rate: {listed}."


def rate_panels(facts: Facts) -> tuple[RatePanel, ...]:
    """One panel per subject."""
    return tuple(_panel(facts, subject) for subject in facts.subjects)


def _panel(facts: Facts, subject: str) -> RatePanel:
    confirmed = facts.confirmation(subject)
    if confirmed is not None:
        points = tuple(
            RatePoint(one.arm.pruning_rate, one.mean.value, one.mean) for one in confirmed.rates
        )
    else:
        points = _best_of_each(facts, subject)
    marginal = facts.marginal(subject)
    return RatePanel(
        subject=subject,
        points=points,
        is_confirmed=confirmed is not None,
        baseline=next((point for point in points if point.pruning_rate == 0), None),
        trials=tuple(
            (one.pruning_rate, one.scores[subject])
            for one in facts.complete
            if subject in one.scores and one.method != "full"
        ),
        marginal=() if marginal is None or confirmed is not None else marginal.points,
    )


def _best_of_each(facts: Facts, subject: str) -> tuple[RatePoint, ...]:
    decision = facts.decision(subject)
    rows = () if decision is None else decision.rates
    return tuple(
        RatePoint(row.pruning_rate, row.best.score, row.best.estimate)
        for row in rows
        if row.best is not None
    )


def _words(point: RatePoint) -> str:
    text = f"p = {point.pruning_rate:g}: {point.score:.1%}"
    if point.estimate is None:
        return text
    return f"{text} (interval {point.estimate.low:.1%} to {point.estimate.high:.1%})"
