"""Draws parallel coordinates."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np

from .canvas import Picture, draw, shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from droplora_sweep.present.contents.coordinates import Coordinates, Line

JITTER = 0.012


def draw_coordinates(found: Coordinates) -> Picture:
    """One wide panel."""
    width = max(7.6, 1.6 * len(found.axes))
    return draw(
        "parallel_coordinates", [found], _draw, lambda panel: panel.alt, inches=(width, 3.8)
    )


def _draw(axes: Axes, found: Coordinates) -> None:
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
