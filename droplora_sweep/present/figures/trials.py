"""Figures of trials: how they learned, what became of them, and when they ran."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from matplotlib.ticker import MaxNLocator

from droplora_sweep.spec.metric_names import TRAIN_LOSS

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

    from droplora_sweep.present.contents.costs import Costs
    from droplora_sweep.present.contents.learning import CurvePanel, RungPanel


LOOKS: dict[str, tuple[str, Any, float]] = {
    "best complete trial": (BLACK, "-", 3.0),
    "p > 0": (BLUE, "-", 1.0),
    "p = 0": (VERMILION, (0, (4, 2)), 1.4),
}
"""Colour, line style and width of a curve."""


def draw_curves(panels: Sequence[CurvePanel]) -> Picture:
    """One panel per metric, one line per trial."""
    return draw("learning_curves", panels, _draw_curves)


def draw_rungs(panel: RungPanel) -> Picture:
    """One panel of stacked bars."""
    return draw("rung_survival", [panel], _draw_rungs)


def _draw_curves(axes: Axes, panel: CurvePanel) -> None:
    axes.set_title(shortened(panel.metric))
    axes.set_xlabel("optimiser step")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=7, integer=True))
    if panel.metric != TRAIN_LOSS:
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


def _draw_rungs(axes: Axes, panel: RungPanel) -> None:
    rungs = panel.rungs
    places = [rung.evaluation for rung in rungs]
    last = [0] * len(rungs)
    kinds = (
        ("continued, or complete", BLUE, "", [rung.num_going_on for rung in rungs]),
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


STATES = {
    "COMPLETE": ("complete", BLUE, ""),
    "STOPPED": ("stopped early", ORANGE, "////"),
    "FAILED": ("failed", VERMILION, "xxxx"),
    "RUNNING": ("not finished", SKY, ""),
}
MOST_NAMES = 40


def draw_costs(found: Costs) -> Picture:
    """One panel: a bar per trial."""
    height = min(9.0, 1.6 + 0.17 * max(6, len(found.spans)))
    return draw("trials_over_time", [found], _draw_costs, inches=(4.6, height))


def _draw_costs(axes: Axes, found: Costs) -> None:
    scale, unit = (60.0, "minutes") if found.elapsed_h < 2 else (1.0, "hours")
    named: set[str] = set()
    for place, span in enumerate(found.spans):
        label, color, hatch = STATES[span.state]
        axes.barh(
            place,
            (span.end_h - span.start_h) * scale,
            left=span.start_h * scale,
            color=color,
            hatch=hatch,
            edgecolor=BLACK,
            linewidth=0.5,
            height=0.8,
            label=None if label in named else label,
        )
        named.add(label)
    if len(found.spans) <= MOST_NAMES:
        names = [span.trial_id.partition("-")[0] for span in found.spans]
        axes.set_yticks(range(len(names)), names, fontsize=7.5)
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.set_xlabel(f"{unit} since the sweep began")
    legend_below(axes)
