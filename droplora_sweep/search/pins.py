"""Trials that the scheduler must never stop, because somebody wants to see their end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .scheduler import BASELINE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ray.tune.experiment import Trial


class Pins:
    """The pinned trials; the scheduler reads it off each trial, as it does for baselines.

    Args:
        pinned: Ids, as the ledger has them, of trials that were pinned before.
    """

    def __init__(self, pinned: Iterable[str] = ()) -> None:
        self._pinned = set(pinned)
        self._live: dict[str, Trial] = {}

    def add(self, trial_id: str) -> None:
        """Pin a trial, running or not."""
        self._pinned.add(trial_id)
        if trial_id in self._live:
            self._live[trial_id].config[BASELINE] = True

    def started(self, trial: Trial) -> None:
        """Tune has started a trial."""
        trial_id = trial.config["trial_id"]
        self._live[trial_id] = trial
        if trial_id in self._pinned:
            trial.config[BASELINE] = True

    def ended(self, trial: Trial) -> None:
        """Tune has ended a trial."""
        self._live.pop(trial.config["trial_id"], None)
