"""An example on a terminal, with what has a loss marked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich.text import Text

from droplora_sweep.present.contents.data import COUNTED_MARKS
from droplora_sweep.present.values import visible

if TYPE_CHECKING:
    from droplora_sweep.plan.data_survey import ShownExample

MAX_CHARACTERS: Final = 4_000
"""Of one piece, whose middle is left out where it is longer."""


def example_text(example: ShownExample) -> Text:
    """Return an example's text; what has a loss is green, bold and between two signs."""
    start, end = COUNTED_MARKS
    shown = Text()
    for text, is_counted in example.pieces:
        piece = _shortened(visible(text))
        if is_counted:
            shown.append(f"{start}{piece}{end}", style="bold green")
        else:
            shown.append(piece, style="dim")
    return shown


def _shortened(text: str) -> str:
    if len(text) <= MAX_CHARACTERS:
        return text
    half = MAX_CHARACTERS // 2
    num_left_out = len(text) - 2 * half
    return f"{text[:half]}\n[{num_left_out:,} characters]\n{text[-half:]}"
