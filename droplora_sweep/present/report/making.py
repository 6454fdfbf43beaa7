"""A ledger -> its report, when a user asks for it and when a sweep ends."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from droplora_sweep.records.trial import SweepOutcome
from droplora_sweep.redaction import redact
from droplora_sweep.run.deciding import confirmed, notes, on_test
from droplora_sweep.run.grounds import Grounds
from droplora_sweep.storage import is_url, storage_name

from .facts import gather_facts
from .page import make_report
from .writing import write_report

if TYPE_CHECKING:
    from collections.abc import Callable

    from droplora_sweep.ledger.reader import Ledger
    from droplora_sweep.records.trial import SweepRecord

    from .facts import Facts
    from .page import Report


def facts_of(ledger: Ledger) -> Facts:
    """What is known of a sweep in any state."""
    return _gathered(ledger, ledger.record, is_live=ledger.holder is not None)


def leave_report(ledger: Ledger) -> str | None:
    """Write the report of a sweep that is about to be complete beside its summary.

    Returns:
        Why there is none, in a line, or None. Nothing is raised: see `try_to_write`.
    """

    def make() -> Report:
        record = replace(ledger.record, outcome=SweepOutcome.COMPLETE)
        return make_report(_gathered(ledger, record, is_live=False))

    problem = try_to_write(make, ledger.summary_directory)
    return problem and f"no report ({problem}); `droplora-sweep report` makes it later"


def try_to_write(make: Callable[[], Report], folder: Path) -> str | None:
    """Make and write a report that can be made again at any time; why that failed, or None."""
    try:
        write_report(make(), folder)
    # Blind on purpose: whatever goes wrong in drawing, the results are safe in the ledger, and a
    # sweep that took days must not fail for want of a picture.
    except Exception as error:  # noqa: BLE001
        first_line = str(error).strip().partition("\n")[0]
        return redact(f"{type(error).__name__}: {first_line}")
    return None


def _gathered(ledger: Ledger, record: SweepRecord, *, is_live: bool) -> Facts:
    facts = gather_facts(
        record,
        ledger.scores,
        confirmed(ledger),
        on_test(ledger),
        is_live=is_live,
        notes=notes(ledger),
        storage=_shown(ledger.storage),
    )
    grounds = Grounds(ledger)
    return replace(
        facts,
        decisions=tuple(grounds.of_search(facts.decisions)),
        decided_on=grounds.confirmed_on if facts.confirmed else "validation",
        references={split: grounds.rows(split) for split in record.references},
    )


def _shown(storage: Path) -> str:
    """A storage as a user would give it here."""
    name = storage_name(storage)
    if is_url(name) or not storage.is_relative_to(Path.cwd()):
        return name
    return str(storage.relative_to(Path.cwd()))
