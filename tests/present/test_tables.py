"""A table is made once: what a terminal and other programs are given of it."""

from __future__ import annotations

import io
import json

from rich.console import Console

from droplora_sweep.analysis.estimate import Estimate
from droplora_sweep.cli.printing import print_tables
from droplora_sweep.present.contents.table import (
    Cell,
    Table,
    gain_cell,
    probability_cell,
    row,
    score_cell,
    table_json,
)
from droplora_sweep.present.values import DASH

SCORE = Estimate(0.612, 0.58, 0.643)
TABLE = Table(
    "Rates [of a sweep]",
    ("rate", "score", "gain", "best of all"),
    (
        row(Cell("0.2", value=0.2), score_cell(SCORE, is_marked=True), gain_cell(SCORE), "> 99 %"),
        row("0", score_cell(None), gain_cell(None), probability_cell(0.004)),
        row("chance", score_cell(0.25), "", "", is_aside=True),
    ),
    ("A note of [brackets].",),
)


def test_a_terminal_shows_texts_beside_their_notes_and_what_is_no_result_apart() -> None:
    console = Console(file=io.StringIO(), width=120)
    print_tables(console, [TABLE])
    assert isinstance(console.file, io.StringIO)
    title, _, names, _, first, second, line, aside, _, note = console.file.getvalue().splitlines()
    assert title.strip() == "Rates [of a sweep]"
    assert [part.strip() for part in names.strip("┃").split("┃")] == list(TABLE.columns)
    assert [part.strip() for part in first.strip("│").split("│")] == [
        "0.2",
        "61.2 % ★ [58.0, 64.3]",
        "+61.2 points [+58.0, +64.3]",
        "> 99 %",
    ]
    assert [part.strip() for part in second.strip("│").split("│")] == ["0", DASH, DASH, "< 1 %"]
    assert line.startswith("├")
    assert [part.strip() for part in aside.strip("│").split("│")] == ["chance", "25.0 %", "", ""]
    assert note == "A note of [brackets]."


def test_other_programs_are_given_numbers_and_null_where_there_is_none() -> None:
    assert json.loads(json.dumps(table_json(TABLE))) == {
        "title": "Rates [of a sweep]",
        "columns": ["rate", "score", "gain", "best of all"],
        "rows": [
            [
                0.2,
                {"value": 0.612, "low": 0.58, "high": 0.643},
                {"value": 0.612, "low": 0.58, "high": 0.643},
                "> 99 %",
            ],
            ["0", None, None, 0.004],
            ["chance", 0.25, None, None],
        ],
        "notes": ["A note of [brackets]."],
    }
