"""Style of figures, and their conversion to SVG for a page and PNG files beside it.

Colours are those of Okabe and Ito (Color Universal Design, 2008), which people with colour-vision
deficiencies tell apart; every series also has a marker and a line style of its own, so that
nothing depends on colour.
"""

from __future__ import annotations

import io
import logging
import re
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import matplotlib as mpl
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from matplotlib.axes import Axes

BLACK, BLUE, VERMILION, GREEN = "#000000", "#0072B2", "#D55E00", "#009E73"
ORANGE, SKY, PURPLE, GREY = "#E69F00", "#56B4E9", "#CC79A7", "#6b6b6b"

SERIES: tuple[tuple[str, str, Any], ...] = (
    (BLACK, "o", (0, (4, 2))),
    (BLUE, "s", "-"),
    (VERMILION, "^", (0, (1, 1.2))),
    (GREEN, "D", (0, (5, 1, 1, 1))),
    (PURPLE, "v", (0, (3, 1, 1, 1, 1, 1))),
    (ORANGE, "P", (0, (6, 2))),
    (SKY, "X", (0, (2, 1))),
    (GREY, "*", "-"),
)
"""Colour, marker and line style of the first series, the second, and so on."""

STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "legend.handlelength": 3,
    "lines.linewidth": 1.8,
    "figure.facecolor": "white",
    # Names come from users: a dollar sign in one is no formula.
    "text.parse_math": False,
    # The same values give the same file.
    "svg.hashsalt": "droplora-sweep",
    "svg.fonttype": "path",
}

PNG_DPI = 150
MOST_COLUMNS = 2

# A name in a script that the font lacks is drawn as boxes; the page has it in text.
logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)


class Described(Protocol):
    """Data of a panel."""

    @property
    def alt(self) -> str:
        """The same in words, for who cannot see it."""


Panel = TypeVar("Panel", bound=Described)


@dataclass(frozen=True)
class Picture:
    """A figure as a page shows it.

    Attributes:
        name: Of its PNG file, without ending.
        svgs: One per panel, to be put into HTML as they are.
        png: All panels in one image.
    """

    name: str
    svgs: tuple[str, ...]
    png: bytes


def draw(
    name: str,
    panels: Sequence[Panel],
    draw_panel: Callable[[Axes, Panel], None],
    *,
    inches: tuple[float, float] = (4.6, 3.6),
) -> Picture:
    """Draw panels, each as an SVG of its own and all of them as one PNG.

    Args:
        name: Of the PNG file, without ending.
        panels: At least one.
        draw_panel: Draws one on its axes.
        inches: Width and height of a panel.
    """
    assert panels, "a figure has a panel"
    with mpl.rc_context(STYLE):
        svgs = tuple(_svg(_figure([panel], draw_panel, inches), panel.alt) for panel in panels)
        return Picture(name, svgs, _png(_figure(panels, draw_panel, inches)))


def percent(axes: Axes, which: str = "y") -> None:
    """Write an axis of fractions in percent."""
    from matplotlib.ticker import PercentFormatter

    axis = axes.yaxis if which == "y" else axes.xaxis
    axis.set_major_formatter(PercentFormatter(1.0))


def legend_below(axes: Axes) -> None:
    """Name the series under the axes, where they hide nothing."""
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        axes.legend(handles, labels, loc="upper left", bbox_to_anchor=(-0.02, -0.2), ncols=2)


def shortened(text: str, length: int = 28) -> str:
    """A name that fits, without characters that an image cannot hold."""
    visible = "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in text)
    return visible if len(visible) <= length else visible[: length - 1] + "\N{HORIZONTAL ELLIPSIS}"


def _figure(
    panels: Sequence[Panel],
    draw_panel: Callable[[Axes, Panel], None],
    inches: tuple[float, float],
) -> Figure:
    columns = min(MOST_COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(columns * inches[0], rows * inches[1]), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False).flat
    for axes, panel in zip(grid, panels, strict=False):
        draw_panel(axes, panel)
    for axes in figure.axes[len(panels) :]:
        axes.remove()
    return figure


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=PNG_DPI, metadata={"Software": None})
    return buffer.getvalue()


def _svg(figure: Figure, alt: str) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    # HTML needs neither the prolog nor the licence of the format; the size is the page's.
    text = text[text.index("<svg") :]
    text = re.sub(r"\s*<metadata>.*?</metadata>", "", text, count=1, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    head, _, body = text.partition(">")
    head = re.sub(r'\s(?:width|height|xmlns(?::xlink)?|version)="[^"]*"', "", head)
    return f'{head} role="img" aria-label="{escape(alt)}">{body}'
