"""The ledger of one sweep: its folder, its events, and its Optuna study.

Only the driver writes, from any of its threads. What has happened is what `events.jsonl` says;
every other file in the folder is written before the event that mentions it. MLflow shows what the
ledger holds (`droplora_sweep.tracking.mlflow_view`) and can be rebuilt from it at any time.
"""

from __future__ import annotations

import hashlib
import json
import threading
import uuid
from functools import cached_property
from typing import TYPE_CHECKING, Any

import yaml

from droplora_sweep.errors import SweepError
from droplora_sweep.files import disk_faults_named, make_private_directory, replace_file
from droplora_sweep.redaction import redact

from .adapter_files import publish_adapter
from .event_log import EventLog, read_events
from .events import EventKind, json_metrics
from .fold import SweepFold
from .layout import (
    ADAPTER,
    EVENTS,
    RESULTS,
    SPEC,
    STUDY,
    SUMMARY,
    TRIAL,
    sweep_directory,
    sweep_names,
    trial_directory,
)
from .model_card import model_card
from .records import SweepOutcome, SweepRecord, TrialRecord, TrialState
from .results import read_scores, write_results

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    import optuna

    from droplora_sweep.evaluation import ExampleResult
    from droplora_sweep.spec import Scalar, SweepSpec, TrialSpec

    from .events import Event


class Ledger:
    """One sweep's ledger: made by ``create`` to be written, by ``open`` to be read.

    Attributes:
        directory: The sweep's folder.
        storage: The folder it is in, with the MLflow store that sweeps share.
        torn: The torn last line of a log that was read, None if there is none.
    """

    def __init__(
        self, directory: Path, fold: SweepFold, log: EventLog | None, torn: str | None = None
    ) -> None:
        self.directory = directory
        self.storage = directory.parent
        self.torn = torn
        self._fold = fold
        self._log = log
        self._lock = threading.RLock()
        self._listeners: list[Callable[[Event], None]] = []

    @staticmethod
    def require_new(storage: Path, name: str) -> None:
        """See that no sweep has this name yet.

        Raises:
            SweepError: One has.
        """
        directory = sweep_directory(storage, name)
        if directory.exists():
            raise SweepError(
                f"name: must be new in {directory.parent}, got {name}, which exists; "
                "choose another with --name"
            )

    @classmethod
    def create(
        cls,
        storage: Path,
        sweep: SweepSpec,
        *,
        data_digests: Mapping[str, str] | None = None,
        versions: Mapping[str, str] | None = None,
    ) -> Ledger:
        """Start a sweep's ledger in a new folder of its name.

        Args:
            storage: Folder of all sweeps; created where missing.
            sweep: The resolved spec.
            data_digests: Digest of each split that is used, by ``<benchmark>/<split>``.
            versions: Version of each package that takes part in a result.

        Raises:
            SweepError: If the name is taken or the folder cannot be written.
        """
        cls.require_new(storage, sweep.name)
        directory = sweep_directory(storage, sweep.name)
        try:
            make_private_directory(directory.parent)
            directory.mkdir(mode=0o700)
        except OSError as error:
            raise SweepError(f"storage: cannot create {directory}: {error.strerror}") from error
        spec = sweep.model_dump(mode="json")
        replace_file(directory / SPEC, yaml.safe_dump(spec, sort_keys=False).encode())
        ledger = cls(directory, SweepFold(directory), EventLog(directory / EVENTS))
        ledger._append(
            EventKind.SWEEP_STARTED,
            {
                "sweep_id": uuid.uuid4().hex,
                "name": sweep.name,
                "spec": spec,
                "data_digests": dict(data_digests or {}),
                "versions": dict(versions or {}),
            },
        )
        return ledger

    @classmethod
    def open(cls, storage: Path, name: str) -> Ledger:
        """Read a sweep's ledger, also while its driver writes to it.

        Raises:
            SweepError: If there is none of that name, or its log is damaged.
        """
        names = sweep_names(storage)
        if name not in names:
            known = f"it has {', '.join(names)}" if names else "it has none"
            raise SweepError(f"name: must be a sweep in {storage}, got {name}; {known}")
        directory = sweep_directory(storage, name)
        read = read_events(directory / EVENTS)
        if not read.events:
            raise SweepError(f"{directory}: the sweep was interrupted before it started")
        fold = SweepFold(directory)
        for event in read.events:
            fold.add(event)
        return cls(directory, fold, log=None, torn=read.torn)

    @property
    def record(self) -> SweepRecord:
        """The sweep with all its trials."""
        with self._lock:
            return self._fold.record

    def records(self) -> list[TrialRecord]:
        """Every trial, in the order of their first start."""
        return list(self.record.trials)

    def trial(self, trial_id: str) -> TrialRecord:
        """One trial as of the last event."""
        return self._fold.trial(trial_id)

    def scores(self, trial_id: str) -> dict[str, dict[str, float | None]] | None:
        """A trial's score on each example, by benchmark and example id (see ``read_scores``).

        None for a trial without per-example results.
        """
        results = self.trial(trial_id).results
        return None if results is None else read_scores(results)

    @cached_property
    def study(self) -> optuna.Study:
        """The sweep's Optuna study, in ``study.db``; its ``sampler`` may be set by the search."""
        from .study import open_study

        return open_study(self.directory / STUDY, self._fold.record.name)

    def subscribe(self, listener: Callable[[Event], None]) -> None:
        """Call ``listener`` with every event after it is durable.

        It is called on the writing thread, which holds the ledger's lock meanwhile.
        """
        self._listeners.append(listener)

    def trial_started(
        self,
        trial_id: str,
        number: int,
        fingerprint: str,
        spec: TrialSpec,
        params: Mapping[str, Scalar],
    ) -> None:
        """Record that a group takes up a trial, for the first time or again."""
        payload = {
            "trial_id": trial_id,
            "number": number,
            "fingerprint": fingerprint,
            "spec": spec.model_dump(mode="json"),
            "params": dict(params),
        }
        folder = trial_directory(self.directory, trial_id)
        with disk_faults_named(folder):
            make_private_directory(folder)
            replace_file(folder / TRIAL, json.dumps(payload, indent=1).encode() + b"\n")
        self._append(EventKind.TRIAL_STARTED, payload)

    def trial_reported(
        self, trial_id: str, evaluation: int, step: int, metrics: Mapping[str, float]
    ) -> None:
        """Record one evaluation (counted from 1) of a running trial."""
        payload = {
            "trial_id": trial_id,
            "evaluation": evaluation,
            "step": step,
            "metrics": json_metrics(metrics),
        }
        self._append(EventKind.TRIAL_REPORTED, payload)

    def trial_finished(
        self,
        trial_id: str,
        state: TrialState,
        *,
        reason: str | None = None,
        metrics: Mapping[str, float] | None = None,
        adapter_files: Mapping[str, bytes] | None = None,
        results: Iterable[ExampleResult] | None = None,
    ) -> TrialRecord:
        """Publish a trial's files, then record its end.

        Args:
            trial_id: A running trial.
            state: COMPLETE, STOPPED or FAILED.
            reason: Why it was stopped or failed.
            metrics: Final metrics beyond those of the last report.
            adapter_files: What ``save_pretrained`` writes, by name; the model card is added.
            results: Per-example results of the last evaluation.

        Raises:
            SweepError: If the file system refuses; the trial is then still running.
        """
        trial = self._fold.trial(trial_id)
        assert not trial.is_finished, f"{trial_id} has already ended"
        folder = trial_directory(self.directory, trial_id)
        metrics = metrics or {}
        digests: dict[str, str | None] = {"adapter": None, "results": None}
        with disk_faults_named(folder):
            if adapter_files:
                card = model_card(trial, self._fold.record.name, {**trial.metrics, **metrics})
                files = {**adapter_files, "README.md": card.encode()}
                digests["adapter"] = publish_adapter(folder / ADAPTER, files)
            if results is not None:
                write_results(folder / RESULTS, results)
                content = (folder / RESULTS).read_bytes()
                digests["results"] = hashlib.sha256(content).hexdigest()
        payload = {
            "trial_id": trial_id,
            "state": TrialState(state).value,
            "reason": reason,
            "metrics": json_metrics(metrics),
            **digests,
        }
        self._append(EventKind.TRIAL_FINISHED, payload)
        return self._fold.trial(trial_id)

    def sweep_finished(
        self,
        outcome: SweepOutcome,
        *,
        reason: str | None = None,
        summary: Mapping[str, str] | None = None,
    ) -> None:
        """Record the end of the sweep.

        Args:
            outcome: How it ended.
            reason: Why it was interrupted or failed.
            summary: Texts for readers (decisions, tables) by file name; kept in ``summary/`` and
                shown in MLflow, where ``README.md`` is the parent run's description.
        """
        for name, text in (summary or {}).items():
            with disk_faults_named(self.summary_directory):
                make_private_directory(self.summary_directory)
                replace_file(self.summary_directory / name, redact(text).encode())
        payload = {"outcome": SweepOutcome(outcome).value, "reason": reason}
        self._append(EventKind.SWEEP_FINISHED, payload)

    @property
    def summary_directory(self) -> Path:
        return self.directory / SUMMARY

    def close(self) -> None:
        """Give back the log's file; the records stay readable."""
        if self._log is not None:
            self._log.close()
            self._log = None

    def _append(self, kind: EventKind, payload: dict[str, Any]) -> None:
        assert self._log is not None, "this ledger was opened to be read"
        if payload.get("reason"):
            # The one text of unknown origin; the spec is refused where it holds a secret.
            payload = {**payload, "reason": redact(payload["reason"])}
        with self._lock:
            event = self._log.next_event(kind, payload)
            self._fold.check(event)
            self._log.append(event)
            self._fold.add(event)
            for listener in self._listeners:
                listener(event)
