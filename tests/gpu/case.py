"""Cases of a check: each is run by itself, and what it raises is a row and no more."""

from __future__ import annotations

import sys
import time
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .rows import failed, not_run, problem_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from .rows import Row


@dataclass(frozen=True)
class Case:
    """A part of a check.

    Attributes:
        name: Name in rows of what it raises, or of a case that was not run.
        run: Measures, and gives rows.
    """

    name: str
    run: Callable[[], Iterable[Row]]


def rows_of(
    check: str,
    cases: Iterable[Case],
    *,
    deadline_s: float = float("inf"),
    begin: Callable[[str], None] = lambda _: None,
) -> Iterator[Row]:
    """Run cases, one after the other, and yield their rows as they come.

    Args:
        check: Name of the check.
        cases: Its cases.
        deadline_s: Time of ``time.monotonic`` from which on no case is begun.
        begin: Called with the name of a case that begins.
    """
    for case in cases:
        if time.monotonic() >= deadline_s:
            yield not_run(check, case.name, "the time was up")
            continue
        begin(case.name)
        try:
            yield from case.run()
        except Exception as error:  # noqa: BLE001 - one case's failure is a row, not the end
            traceback.print_exc(file=sys.stderr)
            yield failed(check, case.name, problem_of(error))
