"""Draws score against rank."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .canvas import SERIES, Picture, draw, legend_below, percent, shortened

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from droplora_sweep.present.contents.ranks import RankPanel


def draw_ranks(panels: Sequence[RankPanel]) -> Picture:
    """One panel per subject, one line per method."""
    return draw("score_against_rank", panels, _draw, lambda panel: panel.alt)


def _draw(axes: Axes, panel: RankPanel) -> None:
    axes.set_title(shortened(panel.subject))
    axes.set_xlabel("rank")
    axes.set_ylabel("validation score")
    axes.set_xscale("log", base=2)
    percent(axes)
    num_series = len(panel.series)
    for index, (name, points) in enumerate(panel.series):
        color, marker, line = SERIES[index % len(SERIES)]
        # Points of one rank stand side by side, so that their intervals can be told apart.
        shift = 2 ** (0.07 * (index - (num_series - 1) / 2))
        ranks = [point.rank * shift for point in points]
        scores = [point.score for point in points]
        axes.plot(ranks, scores, color=color, marker=marker, linestyle=line, label=shortened(name))
        for rank, point in zip(ranks, points, strict=True):
            if point.estimate is not None:
                axes.vlines(
                    rank, point.estimate.low, point.estimate.high, color=color, linewidth=1.2
                )
    shown = sorted({point.rank for _, points in panel.series for point in points})
    axes.set_xticks(shown, [str(rank) for rank in shown])
    axes.minorticks_off()
    legend_below(axes)
