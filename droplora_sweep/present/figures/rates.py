"""Score against pruning rate: the paper's Figure 2, with intervals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from droplora_sweep.spec.methods import method_of

from .canvas import BLACK, BLUE, GREY, SKY, Picture, draw, legend_below, percent, shortened

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

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
            if subject in one.scores and method_of(one.method).has_rank
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


MOST_TICKS = 9


def draw_rates(panels: Sequence[RatePanel]) -> Picture:
    """One panel per subject: the rates with their intervals, and p = 0 as a line."""
    return draw("score_against_rate", panels, _draw, lambda panel: panel.alt)


def _draw(axes: Axes, panel: RatePanel) -> None:
    axes.set_title(shortened(panel.subject))
    axes.set_xlabel("pruning rate p")
    axes.set_ylabel("score")
    percent(axes)
    if panel.marginal:
        rates = [rate for rate, _ in panel.marginal]
        lows = [one.low for _, one in panel.marginal]
        highs = [one.high for _, one in panel.marginal]
        label = "typical setting (exploratory)"
        axes.fill_between(rates, lows, highs, color=SKY, alpha=0.25, linewidth=0, label=label)
    if panel.baseline is not None:
        _baseline(axes, panel.baseline)
    if panel.trials:
        axes.plot(
            [rate for rate, _ in panel.trials],
            [score for _, score in panel.trials],
            "o",
            color=GREY,
            fillstyle="none",
            markersize=4,
            zorder=3,
            label="single trials",
        )
    label = "confirmed mean" if panel.is_confirmed else "best trial of each rate"
    _points(axes, panel.points, label)
    tried = {rate for rate, _ in panel.trials} | {point.pruning_rate for point in panel.points}
    if len(tried) <= MOST_TICKS:
        axes.set_xticks(sorted(tried))
    legend_below(axes)


def _baseline(axes: Axes, point: RatePoint) -> None:
    axes.axhline(
        point.score, color=BLACK, linestyle=(0, (4, 2)), linewidth=1.4, label="p = 0 (no pruning)"
    )
    if point.estimate is not None:
        axes.axhspan(point.estimate.low, point.estimate.high, color="#e9e9e9", zorder=0)


def _points(axes: Axes, points: Sequence[RatePoint], label: str) -> None:
    if not points:
        axes.text(0.5, 0.5, "no score", transform=axes.transAxes, ha="center")
        return
    rates = [point.pruning_rate for point in points]
    scores = [point.score for point in points]
    axes.plot(rates, scores, "-o", color=BLUE, markersize=7, label=label)
    for point in points:
        if point.estimate is not None:
            ends = [[point.score - point.estimate.low], [point.estimate.high - point.score]]
            axes.errorbar(
                point.pruning_rate, point.score, yerr=_positive(ends), color=BLUE, capsize=4
            )


def _positive(ends: list[list[float]]) -> list[list[float]]:
    """Lengths of whiskers, which rounding may leave just below 0."""
    return [[max(0.0, length) for length in side] for side in ends]
