"""Draws the importance of parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .canvas import BLACK, SKY, Picture, draw, percent, shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from droplora_sweep.present.contents.importance import Importance


def draw_importance(found: Importance) -> Picture:
    """One panel of bars."""
    height = 1.3 + 0.42 * len(found.shares)
    return draw(
        "parameter_importance", [found], _draw, lambda panel: panel.alt, inches=(4.6, height)
    )


def _draw(axes: Axes, found: Importance) -> None:
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
