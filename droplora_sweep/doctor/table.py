"""The findings as one table, and a line of advice for each that is not fine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from droplora_sweep.present.contents.table import Table, row

from .findings import Level

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .findings import Checkup, Finding


def checkup_table(checkup: Checkup) -> Table:
    """Return a row for each finding; one that several nodes share is one row."""
    shared = _merged(checkup.findings)
    rows = [row(one.check, one.level, one.text, _places(places)) for one, places in shared]
    return Table("Checkup", ("check", "result", "found", "where"), tuple(rows))


def advice_lines(checkup: Checkup) -> list[str]:
    """Return a line for each finding that is not fine, faults first, then the sum."""
    counted = []
    for level in (Level.FAULT, Level.WARNING):
        number = sum(one.level is level for one, _ in _merged(checkup.findings))
        counted.append(f"{number} {level}{'s' * (number != 1)}")
    return [*problem_lines(checkup.findings), ", ".join(counted)]


def problem_lines(findings: Sequence[Finding]) -> list[str]:
    """Return a line with its advice for each finding that is not fine, faults first."""
    shared = [one for one in _merged(findings) if one[0].level is not Level.OK]
    shared.sort(key=lambda one: one[0].level is not Level.FAULT)
    return [
        f"{one.level}: {one.check}, {_places(places)}: {one.text}; {one.advice}"
        for one, places in shared
    ]


def checkup_json(checkup: Checkup) -> list[dict[str, str]]:
    """Return the findings for other programs."""
    return [
        {
            "check": one.check,
            "place": one.place,
            "level": one.level.value,
            "text": one.text,
            "advice": one.advice,
            "field": one.field,
        }
        for one in checkup.findings
    ]


def _merged(findings: Sequence[Finding]) -> list[tuple[Finding, list[str]]]:
    """Return each finding once, with all places that have it, the checks in their order."""
    order = list(dict.fromkeys(one.check for one in findings))
    found: dict[tuple[str, str, str], tuple[Finding, list[str]]] = {}
    for one in findings:
        key = (one.check, one.level, one.text)
        found.setdefault(key, (one, []))[1].append(one.place)
    return sorted(found.values(), key=lambda pair: order.index(pair[0].check))


def _places(places: list[str]) -> str:
    different = list(dict.fromkeys(places))
    return ", ".join(different) if len(different) <= 2 else f"{len(different)} nodes"
