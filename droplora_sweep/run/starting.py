"""Whether a sweep is begun, goes on or is refused; decided before anything is started."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from droplora_sweep.errors import Fault, InputError, SweepError
from droplora_sweep.ledger.reader import Ledger
from droplora_sweep.ledger.recorded import recorded_sweep
from droplora_sweep.ledger.sweep_folders import has_sweep, require_new
from droplora_sweep.records.trial import SweepOutcome
from droplora_sweep.spec import trial_limit

from .budget import spent
from .changes import changes

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from droplora_sweep.ledger.lease import Holder
    from droplora_sweep.plan.preflight import Prepared
    from droplora_sweep.records.trial import SweepRecord
    from droplora_sweep.spec import SweepSpec

    from .changes import Change


@dataclass(frozen=True)
class Begin:
    """There is no such sweep yet."""


@dataclass(frozen=True)
class GoOn:
    """Trials are left.

    Attributes:
        num_finished: Trials that stay as they are.
        num_open: Trials that were running and go on.
        changes: What is different from here on.
    """

    num_finished: int
    num_open: int
    changes: tuple[Change, ...]


@dataclass(frozen=True)
class Finished:
    """Nothing is left to run.

    Attributes:
        num_finished: Its trials.
    """

    num_finished: int


Start = Begin | GoOn | Finished


def find_start(prepared: Prepared, storage: Path, versions: Mapping[str, str]) -> Start:
    """Begin, go on or leave alone the sweep of a name, from what the storage holds.

    Raises:
        SweepError: Another driver works on it, or its name is taken by something else.
        InputError: It differs in what its trials' results depend on; each fault at its line.
    """
    name = prepared.sweep.name
    if not has_sweep(storage, name):
        require_new(storage, name)
        return Begin()
    ledger = Ledger.open(storage, name)
    digests = prepared.data_digests()
    try:
        return decide_start(ledger.record, ledger.holder, prepared.sweep, digests, versions)
    except InputError as error:
        raise prepared.file.locate(error) from error


def decide_start(
    record: SweepRecord | None,
    holder: Holder | None,
    sweep: SweepSpec,
    data_digests: Mapping[str, str],
    versions: Mapping[str, str],
) -> Start:
    """What to do about a sweep that is to run.

    Args:
        record: The sweep of its name in its storage; None where there is none.
        holder: The driver that works on it now.
        sweep: What is to run.
        data_digests: Digest of each split that it reads.
        versions: Version of each package that takes part in a result.

    Raises:
        SweepError: Another driver works on it.
        InputError: It differs in what its trials' results depend on, or in what is fixed since
            its confirmation began; one fault for each field.
    """
    if record is None:
        return Begin()
    if holder is not None:
        raise SweepError(f"{record.name}: must have one driver, and is held by {holder}")
    found = changes(record, sweep, data_digests, versions)
    refused = [change for change in found if not change.is_free]
    settled = [change for change in found if change.is_free and _is_settled(change, record)]
    if refused or settled:
        faults = [Fault("", change.field, change.problem) for change in refused]
        faults += [
            Fault("", each.field, f"{each.problem}, {_why_settled(record)}") for each in settled
        ]
        remedy = (
            f"must be as when {record.name} was started; start a new sweep from its results with "
            "--fork NEWNAME, or from nothing with another --name"
        )
        raise InputError([*faults, Fault("", record.name, remedy)])
    finished = [trial for trial in record.trials if trial.is_finished]
    num_open = len(record.trials) - len(finished)
    num_searched = sum(
        trial.is_finished and trial.clone_of is None for trial in record.search_trials
    )
    before, limit = recorded_sweep(record), trial_limit(sweep)
    has_new_limits = (trial_limit(before), before.search.budget) != (limit, sweep.search.budget)
    has_room = (limit is None or num_searched < limit) and spent(record, sweep.search) is None
    is_longer = has_new_limits and has_room
    is_longer |= any(_is_of_confirmation(change) for change in found)
    is_complete = (
        record.outcome is SweepOutcome.COMPLETE and not num_open and not record.queued_clones
    )
    if is_complete and not is_longer:
        return Finished(len(finished))
    return GoOn(len(finished), num_open, tuple(found))


def _is_of_confirmation(change: Change) -> bool:
    return change.field.partition(".")[0] == "confirm"


def _is_settled(change: Change, record: SweepRecord) -> bool:
    """Whether a field that is free at first is not any more.

    What is compared, and at which numbers of seeds it is decided, is fixed by the first
    confirmation run; that more runs may be paid for is not. After the test split was scored
    nothing more is decided.
    """
    if not record.confirm_trials:
        return False
    if change.field == "confirm.max_runs":
        return any(trial.is_tested for trial in record.trials)
    is_of_length = change.field.startswith(("search.num_trials", "search.budget"))
    return _is_of_confirmation(change) or is_of_length


def _why_settled(record: SweepRecord) -> str:
    if any(trial.is_tested for trial in record.trials):
        return "and the test split has been scored, after which nothing is decided anew"
    return "and its finalists are being confirmed, for which this is fixed"


def start_lines(start: Start, torn: str | None) -> list[str]:
    """What is said about a sweep that goes on.

    Args:
        start: What was decided.
        torn: The torn last line that was cut off its log, if there was one.
    """
    if not isinstance(start, GoOn):
        return []
    plural = "s" * (start.num_finished != 1)
    lines = [f"resumes: {start.num_finished} trial{plural} finished, {start.num_open} unfinished"]
    lines += [f"from here on: {change.field} {change.problem}" for change in start.changes]
    if torn is not None:
        lines.append(f"cut off a torn line, of an event that had not happened: {torn}")
    return lines
