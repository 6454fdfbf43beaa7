"""Draws score against pruning rate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .canvas import BLACK, BLUE, GREY, SKY, Picture, draw, legend_below, percent, shortened

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from droplora_sweep.present.contents.rates import RatePanel, RatePoint

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
