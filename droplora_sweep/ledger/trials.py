"""From what a user calls a trial to its record; needs no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from droplora_sweep.errors import SweepError

if TYPE_CHECKING:
    from droplora_sweep.ledger.reader import Ledger
    from droplora_sweep.records.trial import TrialRecord


def named_trial(ledger: Ledger, name: str) -> TrialRecord:
    """The trial that a user means by an id or the start of one, e.g. ``t0003``.

    Raises:
        SweepError: None or several match.
    """
    sweep = ledger.record.name
    trials = ledger.records()
    # t1000 is a trial of its own, also where t10000 begins with it.
    matches = [
        trial for trial in trials if name in (trial.trial_id, trial.trial_id.partition("-")[0])
    ]
    matches = matches or [trial for trial in trials if name and trial.trial_id.startswith(name)]
    if len(matches) != 1:
        several = f", which begins {len(matches)} of them" if matches else ""
        raise SweepError(
            f"trial: must be one of {sweep}'s, got {name}{several}; "
            f"`droplora-sweep status {sweep}` lists them"
        )
    return matches[0]


def find_trial(ledger: Ledger, name: str) -> TrialRecord:
    """The same, of a trial that has an adapter.

    Raises:
        SweepError: None or several match, or the one that does has no adapter.
    """
    trial = named_trial(ledger, name)
    if trial.adapter is None:
        why = f": {trial.reason}" if trial.reason else ""
        state = trial.state.lower()
        raise SweepError(f"trial: must have an adapter, got {trial.trial_id}, {state}{why}")
    return trial
