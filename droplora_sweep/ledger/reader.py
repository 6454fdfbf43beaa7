"""The ledger of one sweep, to be read: its folder, its events, and its Optuna study.

What has happened is what `events.jsonl` says; every other file in the folder is written before the
event that mentions it (`ledger_writer`). MLflow shows what the ledger holds
(`droplora_sweep.mlflow_view`) and can be rebuilt from it at any time.
"""

from __future__ import annotations

import threading
from functools import cached_property
from typing import TYPE_CHECKING

from droplora_sweep.records.layout import STUDY, SUMMARY, TRIALS, sweep_directory
from droplora_sweep.records.replay import SweepFold
from droplora_sweep.storage import below, storage_name

from .remote_copy import find_driver
from .results import AnswerCounts, read_answers, read_scores
from .sweep_folders import read_sweep, require_sweep

if TYPE_CHECKING:
    from pathlib import Path

    import optuna

    from droplora_sweep.records.trial import SweepRecord, TrialRecord

    from .lease import Holder


class Ledger:
    """One sweep's ledger.

    Attributes:
        directory: The sweep's folder.
        storage: The folder it is in, with the MLflow store that sweeps share.
        torn: The torn last line of a log that was read, None if there was none.
    """

    def __init__(self, directory: Path, fold: SweepFold, torn: str | None = None) -> None:
        self.directory = directory
        self.storage = directory.parent
        self.torn = torn
        self._fold = fold
        self._lock = threading.RLock()

    @classmethod
    def open(cls, storage: Path, name: str) -> Ledger:
        """Read a sweep's ledger, also while its driver writes to it.

        Raises:
            SweepError: If there is none of that name, or its log is damaged.
        """
        require_sweep(storage, name)
        directory = sweep_directory(storage, name)
        read = read_sweep(directory)
        return cls(directory, SweepFold(directory, read.events), torn=read.torn)

    @property
    def holder(self) -> Holder | None:
        """The driver that works on the sweep now, None if there is none."""
        return find_driver(self.storage, self.directory.name)

    @property
    def record(self) -> SweepRecord:
        """The sweep with all its trials."""
        with self._lock:
            return self._fold.record

    def records(self) -> list[TrialRecord]:
        """Every trial, in the order of their first start."""
        return list(self.record.trials)

    def search_records(self) -> list[TrialRecord]:
        """The trials of the search stage that search-stage statistics are made from.

        Clones are among them where their scores may be compared, see `TrialRecord.is_comparable`.
        """
        return list(self.record.comparable_trials)

    def confirm_records(self) -> list[TrialRecord]:
        """The trials of the confirmation stage."""
        return list(self.record.confirm_trials)

    def trial(self, trial_id: str) -> TrialRecord:
        """One trial as of the last event."""
        return self._fold.trial(trial_id)

    def scores(self, trial_id: str) -> dict[str, dict[str, float | None]] | None:
        """A trial's score on each example, by benchmark and example id (see ``read_scores``).

        None for a trial without per-example results. Test scores are never among them.
        """
        results = self.trial(trial_id).results
        return None if results is None else read_scores(results)

    def test_scores(self, trial_id: str) -> dict[str, dict[str, float | None]] | None:
        """A winner's score on each test example; to be shown, never to select by."""
        results = self.trial(trial_id).test_results
        return None if results is None else read_scores(results)

    def answers(self, trial_id: str) -> dict[str, AnswerCounts]:
        """How often a trial gave each answer, by benchmark; {} without per-example results."""
        results = self.trial(trial_id).results
        return {} if results is None else read_answers(results)

    def untrained_scores(self, split: str) -> dict[str, dict[str, float | None]] | None:
        """The untrained model's score on each example of a split; None where it was not scored."""
        found = self.record.references.get(split)
        return None if found is None else read_scores(found.results)

    @cached_property
    def study(self) -> optuna.Study:
        """The sweep's Optuna study, as it is; its ``sampler`` may be set by the search."""
        from .study import open_study

        record = self._fold.record
        return open_study(self.directory / STUDY, record.spec["search"].get("study"), record)

    @property
    def summary_directory(self) -> Path:
        return self.directory / SUMMARY

    @property
    def trials_directory(self) -> Path:
        """The folder that holds each trial's folder."""
        return self.directory / TRIALS

    @property
    def trials_location(self) -> str:
        """The same as workers find it: below the URL, if the storage is one."""
        return below(storage_name(self.storage), self.directory.name, TRIALS)
