"""Prints the table of the cases that ran."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .table import ROWS, as_lines

if TYPE_CHECKING:
    import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if ROWS:
        terminalreporter.section("faults")
        for line in as_lines(ROWS):
            terminalreporter.write_line(line)
