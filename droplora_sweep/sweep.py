"""A sweep from start to end: the parts, in the order in which they act.

search space -> trial spec -> training on a group -> evaluation -> ledger -> selection

A run has three stages: search finds good settings, confirm repeats the best of them with several
seeds and decides, test scores the winners once on the split that nothing before has seen.
"""

from __future__ import annotations

import contextlib
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from droplora_sweep import private_api
from droplora_sweep.records.layout import DRIVER_LOG

from .errors import SweepError
from .ledger.reader import Ledger
from .ledger.writer import LedgerWriter
from .plan.survey import check_capacity, check_sandbox, remote_code_note
from .present.terminal.progress import make_progress
from .records.trial import SweepOutcome
from .run.confirming import looked_at_note
from .run.connection import LOCAL, connect, local_node, resolve_address
from .run.control import Control
from .run.deciding import confirmed, decide, protocol, summary, winners_of
from .run.forking import past_of, take_over
from .run.runs import Identity
from .run.starting import Begin, Finished, find_start, spent, start_lines
from .run.warm_start import earlier_trials, warm_start
from .run.watch import Interruption, ProgressFile, full_disk, full_disk_named
from .search.history import search_history
from .spec import file_notes, package_versions, trial_limit
from .storage.mirror import local_storage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .plan.survey import Prepared
    from .present.terminal.noise import NoiseLog
    from .present.terminal.progress import Progress
    from .run.connection import RayAddress
    from .spec import SweepSpec


__all__ = ["SweepResult", "confirmed", "decide", "protocol", "run_sweep", "winners_of"]


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
    prepared: Prepared, *, address: str | RayAddress, log: NoiseLog, fork_of: str | None = None
) -> SweepResult:
    """Run a sweep that was checked, to its end or until it is told to stop.

    One that was begun goes on: what is finished stays, what was running is resumed.

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
    cluster = resolve_address(address)
    check_sandbox(prepared.file, prepared.task)
    sweep, storage = prepared.sweep, local_storage(prepared.sweep.storage)
    origin = None if fork_of is None else Ledger.open(storage, fork_of)
    versions = package_versions()
    start = find_start(prepared, storage, versions)
    num_confirmed = None
    if sweep.confirm is not None:
        num_confirmed = sweep.confirm.num_runs(len(sweep.task.benchmarks))
    progress = make_progress(log.console, trial_limit(sweep), sweep.search.metric, num_confirmed)
    if isinstance(start, Finished):
        progress.say(f"sweep {sweep.name}: finished, {start.num_finished} trials; nothing to do")
        return _finished_before(sweep, storage)
    earlier = earlier_trials(prepared) if isinstance(start, Begin) else []
    if cluster.address == LOCAL:
        check_capacity(prepared.file, [local_node()])
    progress.say(f"sweep {sweep.name}: connecting to Ray ({cluster})")
    with connect(cluster), tempfile.TemporaryDirectory(prefix="droplora-") as scratch:
        from .groups.cluster import cluster_nodes

        check_capacity(prepared.file, cluster_nodes())
        folders = [storage, Path(scratch), *filter(None, [private_api.ray_session_folder()])]
        if (disk := full_disk(folders)) is not None:
            raise SweepError(disk)
        digests = prepared.data_digests()
        identify = Identity(digests, versions, sweep.group.num_workers)
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
            log.move_to(ledger.directory / DRIVER_LOG)
            for line in (*take_over(ledger), *start_lines(start, ledger.torn)):
                progress.say(line)
            progress.say(f"noise goes to {log.path}")
            for note in (
                remote_code_note(sweep),
                *file_notes(sweep),
                *prepared.model.notes,
                origin and looked_at_note(origin.record),
            ):
                if note:
                    progress.say(note)
            progress.start_from(ledger.record)
            live = ProgressFile(ledger.directory, progress.left, progress.seconds)
            with progress, live:
                return _drive(
                    prepared, ledger, identify, interruption, progress, live, Path(scratch), folders
                )


def _finished_before(sweep: SweepSpec, storage: Path) -> SweepResult:
    """A sweep that has nothing left to run; its last driver may have died before MLflow had it."""
    from .mlflow_view.publisher import publish_all

    ledger = Ledger.open(storage, sweep.name)
    published = publish_all(ledger, sweep.tracking.mlflow_uri)
    return SweepResult(ledger, SweepOutcome.COMPLETE, None, published.error)


def _drive(
    prepared: Prepared,
    ledger: LedgerWriter,
    identify: Identity,
    interruption: Interruption,
    progress: Progress,
    live: ProgressFile,
    scratch: Path,
    folders: Sequence[Path],
) -> SweepResult:
    """Start groups, go through the stages, and bring ledger and MLflow to a final state."""
    from .groups.manager import GroupManager
    from .groups.pool import start_pool
    from .mlflow_view.publisher import MlflowPublisher
    from .present.report.page import leave_report
    from .run.population import Population, has_copied
    from .run.recorder import Recorder
    from .run.references import References
    from .run.stages import Stages
    from .run.watch import Watch
    from .search.scheduler import Pins
    from .search.searcher import StudySearcher
    from .search.study import reconciled_study

    sweep = prepared.sweep
    known = search_history(ledger.record, sweep.search.metric)
    study = reconciled_study(ledger.study, known.trials, sweep)
    pool_name = f"{sweep.name}-{ledger.holder.token}"
    pool = start_pool(pool_name, sweep.group)
    ledger.subscribe(progress.event)
    outcome = SweepOutcome.FAILED
    reason: str | None = "a bug or a broken machine, see the log"
    population = Population(sweep, ledger, pool) if sweep.search.population else None
    recorder = Recorder(ledger, pool, population)
    references = References(ledger, pool, prepared.task, progress.say)
    with GroupManager(
        sweep=sweep, pool=pool, pool_name=pool_name, scratch=scratch, say=progress.say
    ) as groups:
        # MLflow takes seconds to import, which the groups take to start.
        publisher = MlflowPublisher(
            ledger, sweep.tracking.mlflow_uri, lambda text: progress.say(f"MLflow: {text}")
        )
        searcher = StudySearcher(
            sweep=sweep,
            study=study,
            identify=identify,
            room=lambda: groups.num_groups,
            trials_folder=ledger.trials_location,
            known=known,
            budget_spent=lambda: spent(ledger.record, sweep.search, datetime.now(UTC)),
            has_copied=lambda trial_id: has_copied(ledger.record, trial_id),
        )
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
            ticks=(progress.tick, live.tick),
            say=progress.say,
        )
        stages = Stages(
            sweep,
            ledger,
            identify,
            pool,
            pool_name,
            groups,
            recorder,
            watch,
            scratch,
            progress,
            references,
            population,
        )
        try:
            stages.search(searcher, known, pins)
            stages.confirm()
            recorder.close()
            stages.test()
            outcome, reason = watch.outcome, watch.reason or searcher.ended_by
        finally:
            recorder.abandon()
            recorder.close()
            references.close()
            if outcome is SweepOutcome.COMPLETE and (problem := leave_report(ledger)):
                progress.say(problem)
            try:
                ledger.sweep_finished(outcome, reason=reason, summary=summary(ledger))
            finally:
                published = publisher.close()
    return SweepResult(ledger, outcome, reason, published.error)
