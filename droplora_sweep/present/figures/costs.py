"""Draws when each trial ran."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .canvas import BLACK, BLUE, ORANGE, SKY, VERMILION, Picture, draw, legend_below

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from droplora_sweep.present.contents.costs import Costs

LOOKS = {
    "COMPLETE": ("complete", BLUE, ""),
    "STOPPED": ("stopped early", ORANGE, "////"),
    "FAILED": ("failed", VERMILION, "xxxx"),
    "RUNNING": ("not finished", SKY, ""),
}
MOST_NAMES = 40


def draw_costs(found: Costs) -> Picture:
    """One panel: a bar per trial."""
    height = min(9.0, 1.6 + 0.17 * max(6, len(found.spans)))
    return draw("trials_over_time", [found], _draw, lambda panel: panel.alt, inches=(4.6, height))


def _draw(axes: Axes, found: Costs) -> None:
    scale, unit = (60.0, "minutes") if found.elapsed_h < 2 else (1.0, "hours")
    named: set[str] = set()
    for place, span in enumerate(found.spans):
        label, color, hatch = LOOKS[span.state]
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
