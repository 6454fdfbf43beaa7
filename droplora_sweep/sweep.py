"""A sweep from start to end: the parts, in the order in which they act.

search space -> trial spec -> training on a group -> evaluation -> ledger -> selection
"""

from __future__ import annotations

import contextlib
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from .display.progress import make_progress
from .driver.budget import spent
from .driver.connection import LOCAL, connect, local_node, resolve_address
from .driver.disk_room import full_disk, full_disk_named
from .driver.forking import past_of, take_over
from .driver.history import known_of
from .driver.interruption import Interruption
from .driver.preflight import check_room, check_sandbox, remote_code_note
from .driver.starting import Begin, Finished, decide_start, start_lines
from .driver.warm_start import earlier_trials, warm_start
from .errors import InputError, SweepError
from .selection import best_per_benchmark, decisions_text, is_behind, winners
from .spec import fingerprint, package_versions, trial_limit
from .storage import local_storage
from .tracking import (
    Ledger,
    LedgerWriter,
    SweepOutcome,
    has_sweep,
    require_new,
    trial_id,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .display.noise import NoiseLog
    from .display.progress import Progress
    from .driver.control import Identify
    from .driver.preflight import Prepared
    from .driver.starting import Start
    from .selection import Decision, Winner
    from .spec import AdapterStart, SweepSpec, TrialSpec


@dataclass(frozen=True)
class SweepResult:
    """How a sweep ended.

    Attributes:
        ledger: Everything that happened.
        outcome: Complete, interrupted or failed.
        reason: Why it was interrupted or failed.
        unpublished: Why MLflow lacks something; None where it has all.
    """

    ledger: Ledger
    outcome: SweepOutcome
    reason: str | None
    unpublished: str | None


def run_sweep(
    prepared: Prepared, *, address: str, log: NoiseLog, fork_of: str | None = None
) -> SweepResult:
    """Run a sweep that was checked, to its end or until it is told to stop.

    One that was begun goes on: what is finished stays, what was running is taken up again.

    Args:
        prepared: The sweep, its task and its model.
        address: ``auto``, ``local``, or a Ray cluster's address.
        log: Where the noise goes, and the console for what is left.
        fork_of: A sweep in the same storage whose results this one starts from.

    Raises:
        InputError: A group is larger than the cluster can ever be, code answers would have to
            be run without a sandbox, or the sweep was begun with other settings.
        SweepError: There is no such cluster, another driver has the sweep, its name is taken, or
            a disk is nearly full.
    """
    address = resolve_address(address)
    check_sandbox(prepared.file, prepared.task)
    sweep, storage = prepared.sweep, local_storage(prepared.sweep.storage)
    origin = None if fork_of is None else Ledger.open(storage, fork_of)
    versions = package_versions()
    start = _decide_start(prepared, storage, versions)
    progress = make_progress(log.console, trial_limit(sweep), sweep.search.metric)
    if isinstance(start, Finished):
        progress.say(f"sweep {sweep.name}: finished, {start.num_finished} trials; nothing to do")
        return _finished_before(sweep, storage)
    earlier = earlier_trials(prepared) if isinstance(start, Begin) else []
    if address == LOCAL:
        check_room(prepared.file, [local_node()])
    progress.say(f"sweep {sweep.name}: connecting to Ray ({address})")
    with connect(address), tempfile.TemporaryDirectory(prefix="droplora-") as scratch:
        from .groups.nodes import cluster_nodes, session_folder

        check_room(prepared.file, cluster_nodes())
        folders = [storage, Path(scratch), *session_folder()]
        if (disk := full_disk(folders)) is not None:
            raise SweepError(disk)
        digests = prepared.data_digests()
        identify = partial(_identify, digests, versions, sweep.group.num_workers)
        if isinstance(start, Begin):
            past = () if origin is None else past_of(origin.record, sweep, identify)
            priors, points = warm_start(earlier, sweep, digests, len(past))
            ledger = LedgerWriter.create(
                storage,
                sweep,
                data_digests=digests,
                versions=versions,
                past=(*past, *priors),
                points=points,
            )
        else:
            ledger = LedgerWriter.resume(storage, sweep, versions=versions)
        with (
            full_disk_named(folders),
            contextlib.closing(ledger),
            Interruption() as interruption,
        ):
            log.move_to(ledger.directory / "driver.log")
            for line in (*take_over(ledger), *start_lines(start, ledger.torn)):
                progress.say(line)
            progress.say(f"noise goes to {log.path}")
            if note := remote_code_note(sweep):
                progress.say(note)
            progress.start_from(ledger.record)
            with progress:
                return _drive(
                    sweep, ledger, identify, interruption, progress, Path(scratch), folders
                )


def _decide_start(prepared: Prepared, storage: Path, versions: Mapping[str, str]) -> Start:
    """Begin, go on or leave alone the sweep of this name, from what the storage holds."""
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


def _finished_before(sweep: SweepSpec, storage: Path) -> SweepResult:
    """A sweep that has nothing left to run; its last driver may have died before MLflow had it."""
    from .tracking.mlflow_view import publish_all

    ledger = Ledger.open(storage, sweep.name)
    published = publish_all(ledger, sweep.tracking.mlflow_uri)
    return SweepResult(ledger, SweepOutcome.COMPLETE, None, published.error)


def decide(ledger: Ledger) -> list[Decision]:
    """The best pruning rate per benchmark, from what a sweep's ledger holds.

    Raises:
        SweepError: No trial is complete.
    """
    return best_per_benchmark(ledger.search_records(), ledger.scores)


def winners_of(ledger: Ledger) -> tuple[Winner, ...]:
    """The setting to use on each benchmark.

    Raises:
        SweepError: No trial is complete.
    """
    return winners(decide(ledger), (), ())


def protocol(ledger: Ledger) -> str:
    """By which protocol the sweep's responses are read."""
    return str(ledger.record.spec["evaluation"]["protocol"])


def _drive(
    sweep: SweepSpec,
    ledger: LedgerWriter,
    identify: Identify,
    interruption: Interruption,
    progress: Progress,
    scratch: Path,
    folders: Sequence[Path],
) -> SweepResult:
    """Start groups, search, and bring ledger and MLflow to a final state, whatever happens."""
    from .driver.control import Control
    from .driver.recorder import Recorder
    from .driver.watch import Watch
    from .groups.client import TrialClient
    from .groups.manager import GroupManager
    from .groups.pool import HEAD_SHARE, start_pool
    from .reports import leave_report
    from .search import Pins, StudySearcher, reconciled_study, run_search
    from .tracking.mlflow_view import MlflowPublisher

    known = known_of(ledger.record, sweep.search.metric)
    study = reconciled_study(ledger.study, known.trials, sweep)
    pool_name = f"{sweep.name}-{ledger.holder.token}"
    pool = start_pool(pool_name, sweep.group)
    ledger.subscribe(progress.event)
    outcome = SweepOutcome.FAILED
    reason: str | None = "a bug or a broken machine, see the log"
    recorder = Recorder(ledger, pool)
    with GroupManager(sweep, pool, pool_name, scratch, progress.say) as groups:
        # MLflow takes seconds to import, which the groups take to start.
        publisher = MlflowPublisher(
            ledger, sweep.tracking.mlflow_uri, lambda text: progress.say(f"MLflow: {text}")
        )
        searcher = StudySearcher(sweep, study, identify, lambda: groups.num_groups, known)
        pins = Pins(trial.trial_id for trial in ledger.records() if trial.pinned_by is not None)
        watch = Watch(
            interruption,
            ledger,
            groups,
            recorder,
            pool,
            Control(sweep, ledger, searcher, pins, pool, identify),
            folders=folders,
            grace_s=sweep.group.grace_s,
            tick=progress.tick,
        )
        searcher = StudySearcher(
            sweep,
            study,
            identify,
            lambda: groups.num_groups,
            known,
            budget_spent=lambda: spent(ledger.record, sweep.search, datetime.now(UTC)),
        )
        try:
            run_search(
                TrialClient,
                pool_name,
                sweep,
                searcher,
                recorder,
                trials_folder=ledger.trials_location,
                known=[trial for trial in known.trials.values() if not trial.is_prior],
                pins=pins,
                client_resources=HEAD_SHARE,
                should_stop=watch,
                scratch=scratch,
                is_behind=partial(is_behind, subject=sweep.search.metric.removeprefix("val/")),
            )
            recorder.close()
            outcome, reason = watch.outcome, watch.reason or searcher.ended_by
            if searcher.ended_by is not None:
                progress.say(searcher.ended_by)
        finally:
            recorder.abandon()
            recorder.close()
            if outcome is SweepOutcome.COMPLETE and (problem := leave_report(ledger)):
                progress.say(problem)
            try:
                ledger.sweep_finished(outcome, reason=reason, summary=_summary(ledger))
            finally:
                published = publisher.close()
    return SweepResult(ledger, outcome, reason, published.error)


def _identify(
    data_digests: Mapping[str, str],
    versions: Mapping[str, str],
    num_workers: int,
    number: int,
    spec: TrialSpec,
    start: AdapterStart | None = None,
) -> tuple[str, str]:
    """Trial id and fingerprint of a numbered trial."""
    digest = fingerprint(spec, data_digests, versions, num_workers=num_workers, start=start)
    return trial_id(number, digest), digest


def _summary(ledger: Ledger) -> dict[str, str]:
    """What the parent run shows, by file name; README.md is its description."""
    try:
        return {"README.md": decisions_text(decide(ledger), protocol(ledger))}
    except SweepError as error:
        return {"README.md": str(error)}
