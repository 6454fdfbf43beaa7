"""Writing the ledger of one sweep, by the driver that holds the sweep's lease.

Every file of a trial is on the disk before the event that mentions it, and an event has happened
once it is on the disk. The lease is checked at each step: a driver that lost it writes no more.
"""

from __future__ import annotations

import uuid
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from droplora_sweep.errors import SweepError
from droplora_sweep.files import disk_faults_named, make_private_directory
from droplora_sweep.records.events import EventKind, json_metrics
from droplora_sweep.records.layout import (
    EVENTS,
    LEASE,
    TEST_RESULTS,
    reference_results,
    sweep_directory,
    trial_directory,
)
from droplora_sweep.records.replay import SweepReplay
from droplora_sweep.redaction import redact

from .files import (
    describe_trial,
    publish_results,
    publish_trial_files,
    write_spec,
    write_summary,
)
from .lease import DriverLease
from .log import EventLog, failpoint
from .reader import Ledger, has_sweep, read_sweep, require_new, require_sweep
from .remote_copy import RemoteCopy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from droplora_sweep.evaluation.results import ExampleResult
    from droplora_sweep.publishing import Content
    from droplora_sweep.records.events import Event
    from droplora_sweep.records.trial import (
        Evaluation,
        PastTrial,
        PlannedTrial,
        QueuedClone,
        Reference,
        StartingPoint,
        SweepOutcome,
        TrialRecord,
        TrialState,
    )
    from droplora_sweep.spec import ExploitStep, Scalar, SweepSpec

    from .lease import Holder


@contextmanager
def _leased(directory: Path) -> Iterator[tuple[DriverLease, RemoteCopy | None]]:
    """Take the right to write to a sweep, here and where its storage is a URL's mirror.

    The sweep's folder exists, and is then what the URL holds.

    Raises:
        SweepError: Another driver has it, an object store does not answer, or what is done with the
            lease fails; the lease is given back then.
    """
    lease = DriverLease.take(directory / LEASE)
    remote = None
    try:
        with disk_faults_named(directory):
            remote = RemoteCopy.take(directory.parent, directory.name, lease.holder)
            yield lease, remote
    except SweepError:
        if remote is not None:
            remote.close()
        lease.release()
        raise


class LedgerWriter(Ledger):
    """A ledger that its driver writes to, from any of its threads."""

    def __init__(
        self,
        directory: Path,
        replay: SweepReplay,
        log: EventLog,
        lease: DriverLease,
        remote: RemoteCopy | None,
        torn: str | None = None,
    ) -> None:
        super().__init__(directory, replay, torn)
        self._log = log
        self._lease = lease
        self._remote = remote
        self._is_closed = False
        self._listeners: list[Callable[[Event], None]] = []

    @classmethod
    def create(
        cls,
        storage: Path,
        sweep: SweepSpec,
        *,
        data_digests: Mapping[str, str] | None = None,
        versions: Mapping[str, str] | None = None,
        past: Sequence[PastTrial] = (),
        points: Sequence[StartingPoint] = (),
    ) -> LedgerWriter:
        """Start a sweep's ledger in a folder of its name.

        Args:
            storage: Folder of all sweeps; created where missing.
            sweep: The resolved spec.
            data_digests: Digest of each split that is used, by ``<benchmark>/<split>``.
            versions: Version of each package that takes part in a result.
            past: Trials that a fork or a warm start begins with.
            points: Settings to run early.

        Raises:
            SweepError: If the name is taken or the folder cannot be written.
        """
        directory = require_new(storage, sweep.name)
        try:
            make_private_directory(directory)
        except OSError as error:
            raise SweepError(f"storage: cannot create {directory}: {error.strerror}") from error
        failpoint("sweep-folder-made")
        with _leased(directory) as (lease, remote):
            if has_sweep(storage, sweep.name):
                raise SweepError(f"{sweep.name}: another driver has started it just now")
            # Not a whole event is in it, and whoever might have begun it is dead.
            (directory / EVENTS).unlink(missing_ok=True)
            log = EventLog.create(directory / EVENTS)
        ledger = cls(directory, SweepReplay(directory), log, lease, remote)
        ledger._begin(
            EventKind.SWEEP_STARTED,
            sweep,
            versions,
            {
                "sweep_id": uuid.uuid4().hex,
                "name": sweep.name,
                "data_digests": dict(data_digests or {}),
                "past": [asdict(each) for each in past],
                "points": [asdict(each) for each in points],
            },
        )
        return ledger

    @classmethod
    def resume(
        cls, storage: Path, sweep: SweepSpec, *, versions: Mapping[str, str] | None = None
    ) -> LedgerWriter:
        """Go on with a sweep's ledger; a torn last line is cut off.

        Args:
            storage: Folder of all sweeps.
            sweep: The resolved spec from here on.
            versions: Version of each package that takes part in a result.

        Raises:
            SweepError: If another driver holds the sweep, or its log is damaged.
        """
        require_sweep(storage, sweep.name)
        directory = sweep_directory(storage, sweep.name)
        with _leased(directory) as (lease, remote):
            read = read_sweep(directory)
            log = EventLog.reopen(directory / EVENTS, read)
        replay = SweepReplay(directory, read.events)
        ledger = cls(directory, replay, log, lease, remote, read.torn)
        ledger._begin(EventKind.SWEEP_RESUMED, sweep, versions, {})
        return ledger

    @property
    def holder(self) -> Holder:
        """This driver, as the lease names it."""
        return self._lease.holder

    def subscribe(self, listener: Callable[[Event], None]) -> None:
        """Call ``listener`` with every event after it is durable.

        It is called on the writing thread, which holds the ledger's lock meanwhile.
        """
        self._listeners.append(listener)

    def require_lease(self) -> None:
        """See that this driver may write files of the sweep.

        Raises:
            LeaseLostError: Another driver has taken over.
        """
        self._lease.check()

    def close(self) -> None:
        """Give back the log's file and the lease; the records stay readable."""
        if not self._is_closed:
            self._is_closed = True
            self._log.close()
            if self._remote is not None:
                self._remote.close()
            self._lease.release()

    def trial_started(self, trial: PlannedTrial, *, origin: str | None = None) -> None:
        """Record that a group starts a trial, for the first time or again.

        Args:
            trial: What is run.
            origin: The trial of another sweep whose results it takes over.
        """
        self.require_lease()
        payload = {
            "trial_id": trial.trial_id,
            **_planned(trial),
            "origin": origin,
            "stage": trial.stage.value,
            "arm": trial.arm,
            **({"raced": True} if trial.raced else {}),
        }
        describe_trial(trial_directory(self.directory, trial.trial_id), payload)
        self._append(EventKind.TRIAL_STARTED, payload)

    def trial_reported(self, trial_id: str, evaluation: Evaluation) -> None:
        """Record one evaluation of a running trial.

        Its outcomes are given where a stopping rule decides by them, so that it decides alike when
        the sweep is resumed.
        """
        payload: dict[str, Any] = {
            "trial_id": trial_id,
            "evaluation": evaluation.number,
            "num_evaluations": evaluation.num_evaluations,
            "step": evaluation.step,
            "metrics": json_metrics(evaluation.metrics),
        }
        if evaluation.outcomes:
            outcomes = evaluation.outcomes.items()
            payload["outcomes"] = {name: list(scores) for name, scores in outcomes}
        self._append(EventKind.TRIAL_REPORTED, payload)

    def trial_adjusted(self, trial_id: str, settings: Mapping[str, Scalar], reason: str) -> None:
        """Record new values, by dotted path, that a running trial continues with, and why."""
        payload = {"trial_id": trial_id, "settings": dict(settings), "reason": reason}
        self._append(EventKind.TRIAL_ADJUSTED, payload)

    def trial_exploited(self, trial_id: str, exploit_step: ExploitStep) -> None:
        """Record what a running member of a population does after an evaluation, also nothing."""
        self._append(EventKind.TRIAL_EXPLOITED, {"trial_id": trial_id, **asdict(exploit_step)})

    def trial_stop_asked(self, trial_id: str, by: str) -> bool:
        """Record who wants a running trial stopped; False where it has ended meanwhile."""
        return self._append_of_running(EventKind.TRIAL_STOP_ASKED, trial_id, by)

    def trial_pinned(self, trial_id: str, by: str) -> bool:
        """Record who wants a trial spared by the scheduler; False where it has ended meanwhile."""
        return self._append_of_running(EventKind.TRIAL_PINNED, trial_id, by)

    def trial_retried(self, trial_id: str, by: str) -> None:
        """Record who has a failed trial run again, from its first step."""
        self.require_lease()
        self._append(EventKind.TRIAL_RETRIED, {"trial_id": trial_id, "by": by})

    def trial_cloned(self, clone: QueuedClone) -> None:
        """Record a trial that was made by hand, to be run."""
        self.require_lease()
        payload = {"clone_id": clone.trial_id, **_planned(clone), "by": clone.by}
        self._append(EventKind.TRIAL_CLONED, payload)

    def trial_finished(
        self,
        trial_id: str,
        state: TrialState,
        *,
        reason: str | None = None,
        metrics: Mapping[str, float] | None = None,
        adapter_files: Mapping[str, Content] | None = None,
        results: Iterable[ExampleResult] | None = None,
    ) -> TrialRecord:
        """Publish a trial's files, then record its end.

        Args:
            trial_id: A running trial.
            state: COMPLETE, STOPPED or FAILED.
            reason: Why it was stopped or failed.
            metrics: Final metrics beyond those of the last report.
            adapter_files: Files of ``save_pretrained``, by name; the model card is added.
            results: Per-example results of the last evaluation.

        Raises:
            SweepError: If the file system refuses; the trial is then still running.
        """
        self.require_lease()
        trial = self._replay.trial(trial_id)
        assert not trial.is_finished, f"{trial_id} has already ended"
        digests = publish_trial_files(
            trial_directory(self.directory, trial_id),
            trial,
            self._replay.record.name,
            {**trial.metrics, **(metrics or {})},
            adapter_files,
            results,
        )
        payload = {
            "trial_id": trial_id,
            "state": state.value,
            "reason": reason,
            "metrics": json_metrics(metrics or {}),
            **digests,
        }
        self._append(EventKind.TRIAL_FINISHED, payload)
        return self._replay.trial(trial_id)

    def trial_tested(self, trial_id: str, results: Sequence[ExampleResult]) -> TrialRecord:
        """Publish a winner's results on the test split, then record its scores; once.

        Raises:
            SweepError: If the file system refuses.
        """
        self.require_lease()
        assert not self._replay.trial(trial_id).is_tested, f"{trial_id} is tested once"
        folder = trial_directory(self.directory, trial_id)
        scores, digest = publish_results(folder / TEST_RESULTS, results)
        failpoint("test-results-written")
        payload = {"trial_id": trial_id, "scores": json_metrics(scores), "results": digest}
        self._append(EventKind.TRIAL_TESTED, payload)
        return self._replay.trial(trial_id)

    def reference_scored(
        self,
        split: str,
        results: Iterable[ExampleResult],
        most_frequent: Mapping[str, tuple[str, float]],
        chance: Mapping[str, float],
    ) -> Reference:
        """Publish the untrained model's results on a split, then record its scores; once.

        Args:
            split: Name of the split.
            results: Of every benchmark.
            most_frequent: By benchmark, see `Reference`.
            chance: By benchmark, see `Reference`.

        Raises:
            SweepError: If the file system refuses.
        """
        self.require_lease()
        assert split not in self._replay.record.references, f"{split} is scored once"
        scores, digest = publish_results(reference_results(self.directory, split), results)
        payload = {
            "split": split,
            "untrained": json_metrics(scores),
            "most_frequent": {name: list(each) for name, each in most_frequent.items()},
            "chance": json_metrics(chance),
            "results": digest,
        }
        self._append(EventKind.REFERENCE_SCORED, payload)
        return self._replay.record.references[split]

    def sweep_finished(
        self,
        outcome: SweepOutcome,
        *,
        reason: str | None = None,
        summary: Mapping[str, str] | None = None,
    ) -> None:
        """Record the end of the sweep.

        Args:
            outcome: Kind of its end.
            reason: Why it was interrupted or failed.
            summary: Texts for readers (decisions, tables) by file name; kept in ``summary/`` and
                shown in MLflow, where ``README.md`` is the parent run's description.
        """
        self.require_lease()
        write_summary(self.directory, summary or {})
        self._append(EventKind.SWEEP_FINISHED, {"outcome": outcome.value, "reason": reason})

    def _begin(
        self,
        kind: EventKind,
        sweep: SweepSpec,
        versions: Mapping[str, str] | None,
        payload: Mapping[str, Any],
    ) -> None:
        """Record a driver's start, and keep its spec where people look for it."""
        write_spec(self.directory, spec := sweep.model_dump(mode="json"))
        process = self.holder.process
        driver = {"host": process.host, "pid": process.pid}
        common = {"spec": spec, "versions": dict(versions or {}), "driver": driver}
        self._append(kind, {**payload, **common})

    def _append(self, kind: EventKind, payload: Mapping[str, Any]) -> None:
        assert not self._is_closed, "this ledger was closed"
        if payload.get("reason"):
            # The one text of unknown origin; the spec is refused where it holds a secret.
            payload = {**payload, "reason": redact(payload["reason"])}
        with self._lock:
            event = self._log.next_event(kind, payload)
            self._replay.check(event)
            if self._remote is not None:
                # May take long; meanwhile others must be able to read who holds the sweep. The
                # event has happened once it is there.
                self._lease.check()
                self._remote.add(event)
            with self._lease.held():
                self._log.append(event)
            self._replay.add(event)
            failpoint(kind.replace("_", "-"))
            for listener in self._listeners:
                listener(event)

    def _append_of_running(self, kind: EventKind, trial_id: str, by: str) -> bool:
        self.require_lease()
        with self._lock:
            if self._replay.trial(trial_id).is_finished:
                return False
            self._append(kind, {"trial_id": trial_id, "by": by})
        return True


def _planned(trial: PlannedTrial) -> dict[str, Any]:
    """Payload that a trial's start and a clone's queueing have in common."""
    return {
        "number": trial.number,
        "fingerprint": trial.fingerprint,
        "spec": dict(trial.spec),
        "params": dict(trial.params),
        "drawn": dict(trial.drawn),
        "clone_of": trial.clone_of,
        "start": trial.start and asdict(trial.start),
    }
