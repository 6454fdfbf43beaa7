"""Draws learning curves, and how many trials each evaluation let go on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from matplotlib.ticker import MaxNLocator

from .canvas import (
    BLACK,
    BLUE,
    GREY,
    ORANGE,
    SKY,
    VERMILION,
    Picture,
    draw,
    legend_below,
    percent,
    shortened,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from droplora_sweep.present.contents.courses import CurvePanel, Rung

LOOKS: dict[str, tuple[str, Any, float]] = {
    "best complete trial": (BLACK, "-", 3.0),
    "p > 0": (BLUE, "-", 1.0),
    "p = 0": (VERMILION, (0, (4, 2)), 1.4),
}
"""Colour, line style and width of a curve."""


def draw_curves(panels: Sequence[CurvePanel]) -> Picture:
    """One panel per metric, one line per trial."""
    return draw("learning_curves", panels, _draw_curves, lambda panel: panel.alt)


def draw_rungs(rungs: tuple[Rung, ...], alt: str) -> Picture:
    """One panel of stacked bars."""
    return draw("rung_survival", [rungs], _draw_rungs, lambda _: alt)


def _draw_curves(axes: Axes, panel: CurvePanel) -> None:
    axes.set_title(shortened(panel.metric))
    axes.set_xlabel("optimiser step")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=7, integer=True))
    if panel.metric.startswith("val/"):
        percent(axes)
    named: set[str] = set()
    for curve in panel.curves:
        steps, values = zip(*curve.points, strict=True)
        name = "best complete trial" if curve.is_best else "p > 0" if curve.is_pruned else "p = 0"
        color, line, width = LOOKS[name]
        axes.plot(
            steps,
            values,
            color=color,
            linestyle=line,
            linewidth=width,
            alpha=1.0 if curve.is_best else 0.7,
            zorder=3 if curve.is_best else 2,
            label=None if name in named else name,
        )
        named.add(name)
        if not curve.is_complete:
            label = None if "ended early" in named else "ended early"
            axes.plot(steps[-1], values[-1], "x", color=GREY, markersize=6, label=label)
            named.add("ended early")
        else:
            axes.plot(steps[-1], values[-1], "o", color=color, markersize=3.5)
    legend_below(axes)


def _draw_rungs(axes: Axes, rungs: tuple[Rung, ...]) -> None:
    places = [rung.evaluation for rung in rungs]
    last = [0] * len(rungs)
    kinds = (
        ("went on, or complete", BLUE, "", [rung.num_going_on for rung in rungs]),
        ("stopped early", ORANGE, "///", [rung.num_stopped for rung in rungs]),
        ("failed", VERMILION, "xxx", [rung.num_failed for rung in rungs]),
        ("still there", SKY, "", [rung.num_running for rung in rungs]),
    )
    for name, color, hatch, counts in kinds:
        if any(counts):
            axes.bar(
                places,
                counts,
                bottom=last,
                color=color,
                hatch=hatch,
                edgecolor=BLACK,
                linewidth=0.7,
                width=0.6,
                label=name,
            )
            last = [low + count for low, count in zip(last, counts, strict=True)]
    for place, rung in zip(places, rungs, strict=True):
        axes.annotate(str(rung.num_reached), (place, rung.num_reached), ha="center", va="bottom")
    axes.set_xticks(places if len(places) <= 12 else axes.get_xticks())
    axes.set_xlabel("evaluation")
    axes.set_ylabel("trials that reached it")
    axes.margins(y=0.12)
    legend_below(axes)
