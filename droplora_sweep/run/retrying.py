"""Decision which failed trials may be run again, and the record of it.

A retry runs the trial as it was planned, from its first step: it keeps its number, its id and its
fingerprint, and how it failed before stays in its record.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from droplora_sweep.errors import Fault, InputError
from droplora_sweep.ledger.reader import named_trial
from droplora_sweep.records.trial import Stage, TrialState
from droplora_sweep.storage.object_store import below
from droplora_sweep.training.checkpoints.places import checkpoint_place

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from droplora_sweep.ledger.reader import Ledger
    from droplora_sweep.ledger.writer import LedgerWriter
    from droplora_sweep.records.trial import SweepRecord, TrialRecord


@dataclass(frozen=True)
class Retries:
    """Failed trials of a sweep, as a user means them.

    Attributes:
        trials: Ids of those that are to be run again.
        refused: A line for each other one that has failed: why it stays as it is.
    """

    trials: tuple[str, ...]
    refused: tuple[str, ...] = ()


def find_retries(ledger: Ledger, names: Sequence[str]) -> Retries:
    """Return the trials that a user has run again: those that are named, or all that failed.

    Raises:
        InputError: One that is named cannot be; a fault for each.
        SweepError: The sweep has no trial of a name, or several.
    """
    record = ledger.record
    if names:
        named = {trial.trial_id: trial for trial in (named_trial(ledger, name) for name in names)}
        refused = _refusals(record, named.values())
        if refused:
            raise InputError([Fault("", "TRIAL", line) for line in refused])
        return Retries(tuple(named))
    failed = [trial for trial in record.trials if trial.state is TrialState.FAILED]
    free = tuple(trial.trial_id for trial in failed if refusal_to_retry(trial, record) is None)
    return Retries(free, tuple(_refusals(record, failed)))


def _refusals(record: SweepRecord, trials: Iterable[TrialRecord]) -> list[str]:
    return [line for trial in trials if (line := refusal_to_retry(trial, record)) is not None]


def refusal_to_retry(trial: TrialRecord, record: SweepRecord) -> str | None:
    """Return why a trial cannot be run again; None where it can. Pure.

    Args:
        trial: The trial.
        record: Its sweep.
    """
    name, sweep = trial.trial_id, record.name
    if trial.state is not TrialState.FAILED:
        return f"must have failed, got {name}, {trial.state.lower()}"
    if any(each.is_tested for each in record.trials):
        return (
            f"must be of a sweep whose winners are not scored on the test split yet, got {name}: "
            "nothing is decided anew after that"
        )
    if trial.stage is Stage.CONFIRM:
        return None
    if record.confirm_trials:
        return (
            f"must be of the confirmation, which has begun and whose settings are fixed, got "
            f"{name} of the search; `droplora-sweep resume {sweep} --fork NEWNAME` starts a new "
            "sweep from what this one has found, and may try its settings again"
        )
    if record.spec["search"].get("population") is not None and trial.clone_of is None:
        return (
            f"must not be a member of a population, got {name}: the others have gone on without "
            "it, and it could copy none of them as they were"
        )
    return None


def mark_retries(ledger: LedgerWriter, trials: Sequence[str], by: str) -> Iterator[str]:
    """Record that failed trials are to be run again; a line for each.

    A driver that dies after one of these events leaves a trial that is resumed like any other.

    Args:
        ledger: The sweep's, of a driver that has not started any trial yet.
        trials: Their ids.
        by: The user.

    Raises:
        SweepError: The ledger cannot be written.
    """
    for trial_id in trials:
        reason = ledger.trial(trial_id).reason
        # A driver that was killed as it recorded the failure may have left some.
        checkpoint_place(below(ledger.trials_location, trial_id)).clear()
        ledger.trial_retried(trial_id, by)
        yield f"{trial_id} is retried; it had failed: {reason or 'no reason is known'}"
