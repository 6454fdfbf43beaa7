"""Tables on a terminal."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from rich.table import Table as RichTable
from rich.text import Text

if TYPE_CHECKING:
    from droplora_sweep.present.contents.table import Cell, Table

NUMBER = re.compile(r"[-+<>\N{MINUS SIGN}\N{EN DASH}\d]|$")
"""Start of a cell that stands on the right of its column, if all of the column's do."""


def terminal_table(table: Table, *, has_header: bool = True) -> RichTable:
    """Return a table for a terminal; its notes are for the lines below it."""
    has_lines = any("\n" in cell.text for row in table.rows for cell in row.cells)
    shown = RichTable(title=Text(table.title), show_header=has_header, show_lines=has_lines)
    for index, name in enumerate(table.columns):
        cells = [row.cells[index] for row in table.rows]
        is_numeric = index > 0 and all(NUMBER.match(cell.text) for cell in cells)
        shown.add_column(Text(name), justify="right" if is_numeric else "left", no_wrap=index == 0)
    own = [row for row in table.rows if not row.is_aside]
    for index, row in enumerate(table.rows):
        if index == len(own) and own == list(table.rows[:index]):
            shown.add_section()
        shown.add_row(*map(_text, row.cells), style="dim" if row.is_aside else None)
    return shown


def _text(cell: Cell) -> Text:
    mark = " \N{BLACK STAR}" if cell.is_marked else ""
    note = f" {cell.note}" if cell.note else ""
    return Text.assemble((f"{cell.text}{mark}", "bold" if cell.is_marked else ""), (note, "dim"))
