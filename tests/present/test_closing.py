"""The last lines of `run` and `best`: one table and one sentence, made from the same answers."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from droplora_sweep.cli.printing import print_closing
from droplora_sweep.present.contents.closing import closing
from tests.present.report.conftest import Sweep, confirm


def texts(sweep, *confirmed):
    """The closing table as text: each row's cells, a note behind its text."""
    shown = closing(sweep.facts(confirmed))
    return [
        tuple(f"{cell.text} {cell.note}".strip() for cell in row.cells) for row in shown.table.rows
    ]


@pytest.fixture
def sweep():
    return Sweep()


@pytest.fixture
def alone():
    return Sweep(benchmarks=("arc",))


def test_each_benchmark_has_its_rate_its_gain_and_how_sure_that_is(sweep):
    sweep.trial(0.0, 0.5, params={"training.learning_rate": 1e-3})
    sweep.trial(0.2, 0.7, rank=16, params={"training.learning_rate": 3e-3})
    better = [confirm({0.0: 0.5, 0.2: 0.7}, subject=name) for name in ("mean", "arc")]
    worse = confirm({0.0: 0.7, 0.2: 0.5}, subject="gsm")
    mean, arc, gsm = texts(sweep, *better, worse)
    assert mean[0] == "mean"
    assert arc[:2] == ("arc", "p = 0.2 rank 16, learning rate 0.003")
    assert re.fullmatch(r"\+\d+\.\d points \[\+\d+\.\d, \+\d+\.\d\]", arc[2])
    assert arc[3] == "\N{HEAVY CHECK MARK} confirmed"
    assert gsm[:2] == ("gsm", "p = 0 rank 8, learning rate 0.001")
    # What p = 0 is better than.
    assert re.fullmatch("\N{MINUS SIGN}.* points \\[.*\\] for p = 0.2", gsm[2])
    assert gsm[3] == "\N{HEAVY CHECK MARK} confirmed"


def test_what_is_not_confirmed_is_called_open_or_a_hint(alone):
    alone.spec["confirm"] = {"seeds": 5}
    alone.trial(0.0, 0.5)
    alone.trial(0.2, 0.55)
    [hint] = texts(alone)
    gain = "+5.0 points [\N{MINUS SIGN}4.5, +14.0]"
    assert hint[1:] == ("p = 0.2 rank 8", gain, "? a hint")
    [is_open] = texts(alone, confirm({0.0: 0.5, 0.2: 0.5}, num_examples=60))
    assert is_open[3] == "\N{ALMOST EQUAL TO} still open"


def test_where_nothing_is_complete_there_is_neither_rate_nor_gain(alone):
    alone.trial(0.2, 0.5, state="FAILED")
    assert texts(alone) == [("arc", "\N{EN DASH}", "\N{EN DASH}", "\N{EN DASH} no answer yet")]


def test_a_terminal_of_80_columns_shows_the_table_and_one_sentence(alone):
    alone.trial(0.0, 0.5)
    alone.trial(0.2, 0.7)
    console = Console(file=io.StringIO(), width=80)
    print_closing(console, alone.facts([confirm({0.0: 0.5, 0.2: 0.7})]))
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    assert lines[0] == ""
    assert lines[1].strip() == "What to use"
    assert [name.strip() for name in lines[3].strip("┃").split("┃")] == [
        "benchmark",
        "use",
        "gain over p = 0",
        "how sure",
    ]
    assert all(len(line) <= 80 for line in lines[:-1])
    assert lines[-2].startswith("└")
    assert lines[-1] == (
        "next: droplora-sweep export demo --task arc --output demo-arc (writes the adapter to use)"
    )
    assert str(Path.cwd()) not in console.file.getvalue()


def test_a_gain_is_that_over_the_better_setting_of_p_0(alone):
    """A rate may lead p = 0 by 20 points, and its own settings without pruning by 2."""
    alone.spec["confirm"] = {"seeds": 5}
    alone.trial(0.0, 0.5)
    alone.trial(0.2, 0.7)
    [(_, _, against_both, _)] = texts(alone, confirm({0.0: 0.5, 0.2: 0.7}, control=0.68))
    [(_, _, against_one, _)] = texts(alone, confirm({0.0: 0.5, 0.2: 0.7}))
    gains = [float(text.split()[0]) for text in (against_both, against_one)]
    assert gains == [pytest.approx(2, abs=1.5), pytest.approx(20, abs=1.5)]


@pytest.mark.parametrize(
    ("is_held", "expected"),
    [
        (True, "--set confirm.gpu_hours=4 (continues the confirmation with twice the GPU hours)"),
        (False, "--fork demo-more --set confirm.max_seeds=6 --set confirm.gpu_hours=null ("),
    ],
)
def test_more_hours_help_only_a_confirmation_that_waits_for_them(alone, is_held, expected):
    """One whose seeds are used up wants more of those, whether there is a test split or not."""
    alone.spec["confirm"] = {"seeds": 3, "gpu_hours": 2.0}
    alone.trial(0.0, 0.5)
    alone.trial(0.2, 0.55)
    found = alone.facts([confirm({0.0: 0.5, 0.2: 0.5}, num_examples=60)])
    assert expected in closing(replace(found, is_held=is_held)).sentence
