"""Figures of scores: against pruning rate, rank and all settings, and the settings' importance."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np

from .canvas import (
    BLACK,
    BLUE,
    GREY,
    SERIES,
    SKY,
    Picture,
    draw,
    legend_below,
    percent,
    shortened,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from droplora_sweep.present.contents.coordinates import Coordinates, Line
    from droplora_sweep.present.contents.importance import Importance
    from droplora_sweep.present.contents.rates import Point, RankPanel, RatePanel


JITTER = 0.012
MOST_TICKS = 9


def draw_rates(panels: Sequence[RatePanel]) -> Picture:
    """One panel per subject: the rates with their intervals, and p = 0 as a line."""
    return draw("score_against_rate", panels, _draw_rates)


def _draw_rates(axes: Axes, panel: RatePanel) -> None:
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
    tried = {rate for rate, _ in panel.trials} | {point.x for point in panel.points}
    if len(tried) <= MOST_TICKS:
        axes.set_xticks(sorted(tried))
    legend_below(axes)


def _baseline(axes: Axes, point: Point) -> None:
    axes.axhline(
        point.score, color=BLACK, linestyle=(0, (4, 2)), linewidth=1.4, label="p = 0 (no pruning)"
    )
    if point.estimate is not None:
        axes.axhspan(point.estimate.low, point.estimate.high, color="#e9e9e9", zorder=0)


def _points(axes: Axes, points: Sequence[Point], label: str) -> None:
    rates = [point.x for point in points]
    scores = [point.score for point in points]
    axes.plot(rates, scores, "-o", color=BLUE, markersize=7, label=label)
    for point in points:
        if point.estimate is not None:
            # Rounding may leave a whisker just below 0.
            below = max(0.0, point.score - point.estimate.low)
            above = max(0.0, point.estimate.high - point.score)
            axes.errorbar(point.x, point.score, yerr=[[below], [above]], color=BLUE, capsize=4)


def draw_ranks(panels: Sequence[RankPanel]) -> Picture:
    """One panel per subject, one line per method."""
    return draw("score_against_rank", panels, _draw_ranks)


def _draw_ranks(axes: Axes, panel: RankPanel) -> None:
    axes.set_title(shortened(panel.subject))
    axes.set_xlabel("rank")
    axes.set_ylabel("validation score")
    axes.set_xscale("log", base=2)
    percent(axes)
    num_series = len(panel.series)
    for index, (name, points) in enumerate(panel.series):
        color, marker, line = SERIES[index % len(SERIES)]
        # Points of one rank stand side by side, so that their intervals can be distinguished.
        shift = 2 ** (0.07 * (index - (num_series - 1) / 2))
        ranks = [point.x * shift for point in points]
        scores = [point.score for point in points]
        axes.plot(ranks, scores, color=color, marker=marker, linestyle=line, label=shortened(name))
        for rank, point in zip(ranks, points, strict=True):
            if point.estimate is not None:
                axes.vlines(
                    rank, point.estimate.low, point.estimate.high, color=color, linewidth=1.2
                )
    shown = sorted({point.x for _, points in panel.series for point in points})
    axes.set_xticks(shown, [f"{rank:g}" for rank in shown])
    axes.minorticks_off()
    legend_below(axes)


def draw_importance(found: Importance) -> Picture:
    """One panel of bars."""
    height = 1.3 + 0.42 * len(found.shares)
    return draw("parameter_importance", [found], _draw_importance, inches=(4.6, height))


def _draw_importance(axes: Axes, found: Importance) -> None:
    shares = list(reversed(found.shares))
    places = range(len(shares))
    axes.barh(
        places,
        [share.value for share in shares],
        color=SKY,
        edgecolor=BLACK,
        linewidth=0.8,
        height=0.6,
    )
    for place, share in zip(places, shares, strict=True):
        axes.plot([share.low, share.high], [place, place], color=BLACK, linewidth=1.4, marker="|")
    axes.set_yticks(places, [shortened(share.name.rpartition(".")[2], 22) for share in shares])
    axes.set_xlim(left=0)
    axes.set_xlabel("share of the variance explained")
    axes.grid(visible=False, axis="y")
    percent(axes, "x")


def draw_coordinates(found: Coordinates) -> Picture:
    """One wide panel."""
    width = max(7.6, 1.6 * len(found.axes))
    return draw("parallel_coordinates", [found], _draw_coordinates, inches=(width, 3.8))


def _draw_coordinates(axes: Axes, found: Coordinates) -> None:
    last = len(found.axes) - 1
    axes.set_axis_off()
    axes.set_xlim(-0.15, last + 0.35)
    axes.set_ylim(-0.08, 1.16)
    best = max((i for i, line in enumerate(found.lines) if line.is_complete), default=None)
    shades = mpl.colormaps["cividis_r"]
    num_lines = len(found.lines)
    for index, line in enumerate(found.lines):
        share = index / max(1, num_lines - 1)
        _line(axes, line, index, shades(0.1 + 0.9 * share), is_best=index == best)
    for place, axis in enumerate(found.axes):
        axes.plot([place, place], [0, 1], color="black", linewidth=1.2)
        short = axis.name.rpartition(".")[2]
        axes.text(place, 1.08, shortened(short, 18), ha="center", fontweight="bold")
        for height, text in axis.ticks:
            axes.plot([place - 0.02, place + 0.02], [height, height], color="black", linewidth=1)
            axes.text(
                place + 0.04,
                height,
                shortened(text, 14),
                va="center",
                fontsize=8,
                bbox={"facecolor": "white", "alpha": 0.75, "linewidth": 0, "pad": 0.6},
            )


def _line(axes: Axes, line: Line, index: int, color: object, *, is_best: bool) -> None:
    # Lines through the same values are moved apart a little, always by the same amount.
    shift = JITTER * np.sin(2.4 * index)
    heights = [np.nan if one is None else one + shift for one in line.heights]
    heights[-1] = line.heights[-1] if line.heights[-1] is not None else np.nan
    axes.plot(
        range(len(heights)),
        heights,
        color="black" if is_best else color,
        linewidth=3.2 if is_best else 1.3,
        linestyle="-" if line.is_complete else (0, (2, 2)),
        alpha=1.0 if line.is_complete else 0.75,
        zorder=3 if is_best else 2,
        gid=line.trial_id,
    )
