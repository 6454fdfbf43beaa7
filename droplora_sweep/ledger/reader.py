"""Reading the ledger of one sweep: its folder, its events, and its Optuna study.

What has happened is what `events.jsonl` says; every other file in the folder is written before the
event that mentions it (`writer`). MLflow shows what the ledger holds
(`droplora_sweep.mlflow_view`) and can be rebuilt from it at any time.
"""

from __future__ import annotations

import difflib
import json
import shlex
import threading
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from droplora_sweep.errors import SweepError
from droplora_sweep.records.layout import (
    CANARY,
    EVENTS,
    INCOMING,
    LEASE,
    SPEC,
    STUDY,
    SUMMARY,
    TRIALS,
    sweep_directory,
)
from droplora_sweep.records.replay import SweepReplay
from droplora_sweep.spec import SweepSpec
from droplora_sweep.spec.loader import recorded_sweep_file
from droplora_sweep.storage.mirror import mirror_of, storage_name
from droplora_sweep.storage.object_store import below

from .files import AnswerCounts, read_answers, read_likelihoods, read_scores
from .log import read_events
from .remote_copy import fetch_sweep, find_driver

if TYPE_CHECKING:
    from pathlib import Path

    import optuna

    from droplora_sweep.records.trial import SweepRecord, TrialRecord
    from droplora_sweep.spec import SweepFile

    from .lease import Holder
    from .log import EventsRead


def sweep_names(storage: Path) -> list[str]:
    """Names of the sweeps in a storage folder, sorted; none where the folder is missing."""
    return sorted(path.parent.name for path in storage.glob(f"*/{EVENTS}"))


def has_sweep(storage: Path, name: str) -> bool:
    """Return whether a sweep of this name has begun, finished or not.

    Raises:
        SweepError: The name is that of something else in the storage folder.
    """
    path = sweep_directory(storage, name) / EVENTS
    fetch_sweep(storage, name)
    return path.is_file() and bool(read_events(path).events)


def require_new(storage: Path, name: str) -> Path:
    """The folder of a sweep that has not begun, which need not exist.

    A driver that was killed in its first moments leaves a folder without a whole event; nothing is
    lost by using it again.

    Raises:
        SweepError: A sweep or anything else has this name.
    """
    directory = sweep_directory(storage, name)
    if directory.exists() and (has_sweep(storage, name) or not _is_stillborn(directory)):
        raise SweepError(
            f"name: must be new in {storage_name(directory.parent)}, got {name}, which exists; "
            "choose another with --name"
        )
    return directory


def require_sweep(storage: Path, name: str) -> None:
    """See that a sweep has this name.

    Raises:
        SweepError: None has.
    """
    fetch_sweep(storage, name)
    names = sweep_names(storage)
    if name not in names:
        mirror = mirror_of(storage)
        names = names if mirror is None else mirror.names()
        known = f"it has {', '.join(names)}" if names else "it has none"
        place = storage_name(storage)
        error = SweepError(f"name: must be a sweep in {place}, got {name!r}; {known}")
        where = "" if place == "results" else f" --storage {shlex.quote(place)}"
        nearest = difflib.get_close_matches(name, names, n=1, cutoff=0.0)
        raise error.leading_to(f"status {nearest[0]}{where}" if names else "demo")


def read_sweep(directory: Path) -> EventsRead:
    """The events of a sweep that has begun.

    Raises:
        SweepError: It has not, or its log is damaged.
    """
    read = read_events(directory / EVENTS)
    if not read.events:
        raise SweepError(
            f"{directory}: the sweep was interrupted before it started; run its file again"
        )
    return read


def _is_stillborn(directory: Path) -> bool:
    """Return whether a folder holds only files that are written before a sweep's first event."""
    first = {EVENTS, LEASE, SPEC}
    return directory.is_dir() and all(
        path.name in first or path.name.startswith(".") for path in directory.iterdir()
    )


class Ledger:
    """One sweep's ledger.

    Attributes:
        directory: The sweep's folder.
        storage: The folder it is in, with the MLflow store that sweeps share.
        torn: The torn last line of a log that was read, None if there was none.
    """

    def __init__(self, directory: Path, replay: SweepReplay, torn: str | None = None) -> None:
        self.directory = directory
        self.storage = directory.parent
        self.torn = torn
        self._replay = replay
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
        return cls(directory, SweepReplay(directory, read.events), torn=read.torn)

    @property
    def holder(self) -> Holder | None:
        """The driver that works on the sweep now, None if there is none."""
        return find_driver(self.storage, self.directory.name)

    @property
    def record(self) -> SweepRecord:
        """The sweep with all its trials."""
        with self._lock:
            return self._replay.record

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
        return self._replay.trial(trial_id)

    def scores(self, trial_id: str) -> dict[str, dict[str, float | None]] | None:
        """A trial's score on each example, by benchmark and example id (see ``read_scores``).

        None for a trial without per-example results. Test scores are never among them.
        """
        results = self.trial(trial_id).results
        return None if results is None else read_scores(results)

    def likelihoods(self, trial_id: str) -> dict[str, dict[str, float]] | None:
        """Likelihoods of the references under a trial, by benchmark and example id.

        As ``read_likelihoods`` has them; None for a trial without per-example results.
        """
        results = self.trial(trial_id).results
        return None if results is None else read_likelihoods(results)

    def test_scores(self, trial_id: str) -> dict[str, dict[str, float | None]] | None:
        """A winner's score on each test example; to be shown, never to select by."""
        results = self.trial(trial_id).test_results
        return None if results is None else read_scores(results)

    def answers(self, trial_id: str) -> dict[str, AnswerCounts]:
        """Number of times that a trial gave each answer, by benchmark; {} without results."""
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

        record = self._replay.record
        return open_study(self.directory / STUDY, record.spec["search"].get("study"), record)

    @property
    def summary_directory(self) -> Path:
        return self.directory / SUMMARY

    @property
    def trials_location(self) -> str:
        """Folder of the trials as workers find it: below the URL, if the storage is one."""
        return below(storage_name(self.storage), self.directory.name, TRIALS)

    @property
    def canary_location(self) -> str:
        """Folder of a canary's checkpoint as workers find it, like `trials_location`."""
        return below(storage_name(self.storage), self.directory.name, INCOMING, CANARY)


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


def recorded_sweep(record: SweepRecord) -> SweepSpec:
    """The spec of a sweep's last start.

    Raises:
        SweepError: Another version of this package wrote it, and this one cannot read it.
    """
    try:
        return SweepSpec.model_validate_json(json.dumps(_with_former_defaults(record)))
    except ValidationError as error:
        wrote = record.versions.get("droplora-sweep", "another version")
        raise SweepError(
            f"{record.name}: was started by droplora-sweep {wrote}, whose spec this version "
            f"cannot read: {error.errors()[0]['msg']}"
        ) from error


def _with_former_defaults(record: SweepRecord) -> dict[str, Any]:
    """The spec with what applied to a sweep when its version had no field for it."""
    tracking = {"experiment": record.experiment, **record.spec["tracking"]}
    found = {**record.spec, "tracking": tracking}
    confirm = record.spec.get("confirm")
    if confirm is not None:
        found["confirm"] = {"finalists": "best_trial", **confirm}
    return found


def recorded_file(record: SweepRecord, storage: Path, name: str | None = None) -> SweepFile:
    """The spec of a sweep's last start as a file's, to be prepared and run.

    Args:
        record: The sweep.
        storage: Folder that it was found in.
        name: Another name, for a fork.

    Raises:
        SweepError: This version cannot read it.
    """
    update = {"storage": storage_name(storage), "name": name or record.name}
    sweep = SweepSpec.model_validate({**dict(recorded_sweep(record)), **update})
    return recorded_sweep_file(sweep, f"sweep {record.name}")
