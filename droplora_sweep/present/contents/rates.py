"""Score against pruning rate and against rank: the paper's Figures 2 and 3, with intervals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from droplora_sweep.spec.methods import method_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from droplora_sweep.analysis.estimate import Estimate
    from droplora_sweep.analysis.evidence import Candidate

    from .facts import Facts


@dataclass(frozen=True)
class Point:
    """A score at one pruning rate or rank.

    Attributes:
        x: The rate or rank.
        score: A fraction.
        estimate: The same with its 95 % interval; None where it has none.
        trial_id: The trial's, or the confirmed arm's.
    """

    x: float
    score: float
    estimate: Estimate | None
    trial_id: str


@dataclass(frozen=True)
class RatePanel:
    """One benchmark, or the mean.

    Attributes:
        subject: Its name.
        points: The confirmed arms where there are any, else the best complete trial of each
            rate; ascending.
        is_confirmed: True where the points are confirmed arms.
        baseline: The point of p = 0; None where there is none.
        trials: Rate and score of every complete trial of the search.
        marginal: Score at each rate with other parameters averaged out; empty where confirmed.
    """

    subject: str
    points: tuple[Point, ...]
    is_confirmed: bool
    baseline: Point | None
    trials: tuple[tuple[float, float], ...]
    marginal: tuple[tuple[float, Estimate], ...]

    @property
    def alt(self) -> str:
        """The same in words, for who cannot see it."""
        kind = "confirmed mean" if self.is_confirmed else "best score"
        listed = "; ".join(_words(point) for point in self.points)
        return f"{self.subject}, {kind} of each pruning rate: {listed}."


def rate_panels(facts: Facts) -> tuple[RatePanel, ...]:
    """Return a panel per subject that has a score."""
    panels = (_rate_panel(facts, subject) for subject in facts.subjects)
    return tuple(panel for panel in panels if panel.points)


def _rate_panel(facts: Facts, subject: str) -> RatePanel:
    confirmed, decision = facts.confirmation(subject), facts.decision(subject)
    if confirmed is not None:
        points = tuple(
            Point(one.arm.pruning_rate, one.mean.value, one.mean, one.arm.name)
            for one in confirmed.rates
        )
    else:
        points = tuple(
            Point(row.pruning_rate, row.best.score, row.best.estimate, row.best.trial_id)
            for row in (() if decision is None else decision.rates)
            if row.best is not None
        )
    marginal = facts.marginal(subject)
    return RatePanel(
        subject=subject,
        points=points,
        is_confirmed=confirmed is not None,
        baseline=next((point for point in points if point.x == 0), None),
        trials=tuple(
            (one.pruning_rate, one.scores[subject])
            for one in facts.complete
            if subject in one.scores and method_of(one.method).has_rank
        ),
        marginal=() if marginal is None or confirmed is not None else marginal.points,
    )


def _words(point: Point) -> str:
    text = f"p = {point.x:g}: {point.score:.1%}"
    if point.estimate is None:
        return text
    return f"{text} (interval {point.estimate.low:.1%} to {point.estimate.high:.1%})"


FIRST = ("LoRA (p = 0)", "DropLoRA (p > 0)")
"""The two lines of the paper's figure, drawn alike in every panel."""


@dataclass(frozen=True)
class RankPanel:
    """One benchmark, or the mean.

    Attributes:
        subject: Its name.
        series: The best complete trial of each rank by method, LoRA and DropLoRA first; ascending.
    """

    subject: str
    series: tuple[tuple[str, tuple[Point, ...]], ...]

    @property
    def alt(self) -> str:
        """The same in words."""
        parts = []
        for name, points in self.series:
            listed = ", ".join(f"rank {point.x:g} {point.score:.1%}" for point in points)
            parts.append(f"{name}: {listed}")
        return f"{self.subject}, best score of each rank: {'; '.join(parts)}."


def rank_panels(facts: Facts) -> tuple[RankPanel, ...]:
    """Return a panel per subject; none where all complete trials have one rank."""
    ranked = [one for one in facts.complete if method_of(one.method).has_rank]
    if len({one.rank for one in ranked}) < 2:
        return ()
    return tuple(_rank_panel(facts, ranked, subject) for subject in facts.subjects)


def method_label(method: str, pruning_rate: float) -> str:
    """Return the name of a method with or without pruning."""
    if method_of(method).is_lora:
        return FIRST[pruning_rate > 0]
    return f"{method}, p > 0" if pruning_rate > 0 else method


def _rank_panel(facts: Facts, ranked: Iterable[Candidate], subject: str) -> RankPanel:
    best: dict[str, dict[int, Point]] = {}
    for one in ranked:
        if subject not in one.scores:
            continue
        of_method = best.setdefault(method_label(one.method, one.pruning_rate), {})
        before, score = of_method.get(one.rank), one.scores[subject]
        if before is None or score > before.score:
            estimate = facts.estimates.get(one.trial_id, {}).get(subject)
            of_method[one.rank] = Point(one.rank, score, estimate, one.trial_id)
    names = sorted(
        best, key=lambda name: (FIRST.index(name) if name in FIRST else len(FIRST), name)
    )
    return RankPanel(
        subject,
        tuple((name, tuple(best[name][rank] for rank in sorted(best[name]))) for name in names),
    )
