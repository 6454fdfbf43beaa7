"""A sweep from start to end: the parts, in the order in which they act.

search space -> trial spec -> training on a group -> evaluation -> ledger -> selection

A run has three stages: search finds good settings, confirm repeats the best of them with several
seeds and decides, test scores the winners once on the split that nothing before has seen.
"""

from __future__ import annotations

import tempfile
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from . import private_api
from .doctor.checkup import require_alike
from .errors import DropLoRASweepError
from .groups.capacity import idle_gpus
from .ledger.reader import Ledger
from .ledger.requests import user_name
from .plan.micro_batch import micro_batch_note, with_micro_batch
from .plan.room import check_capacity
from .plan.survey import check_sandbox
from .present.misfit import memory_fault
from .present.terminal.progress import make_progress
from .records.layout import DRIVER_LOG
from .records.trial import SweepOutcome
from .run.connection import LOCAL, connect, local_node, resolve_address
from .run.ending import Ending, Interruption, SweepResult, full_disk_named, require_free_space
from .run.forking import take_over
from .run.retrying import mark_retries
from .run.runs import Identity
from .run.starting import Finished, as_begun, find_start, notes, open_ledger, start_lines
from .spec import package_versions, trial_limit
from .storage.mirror import local_storage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .plan.survey import Prepared
    from .present.terminal.noise import NoiseLog
    from .run.connection import RayAddress


def run_sweep(
    prepared: Prepared,
    *,
    address: str | RayAddress,
    log: NoiseLog,
    fork_of: str | None = None,
    retries: Sequence[str] = (),
) -> SweepResult:
    """Run a sweep that was checked, to its end or until it is told to stop.

    A sweep that was begun is resumed: finished trials stay, unfinished ones continue.

    Args:
        prepared: The sweep, its task and its model.
        address: ``auto``, ``local``, or a Ray cluster's address.
        log: Takes the output of libraries, and has the console for the sweep's own lines.
        fork_of: A sweep in the same storage whose results this one starts from.
        retries: Ids of failed trials to run again, see `run.retrying`.

    Raises:
        InputError: The cluster can hold no group, code has no sandbox, or settings have changed.
        SweepError: There is no such cluster, another driver has the sweep, or a disk is full.
    """
    cluster = resolve_address(address)
    check_sandbox(prepared.file, prepared.task)
    storage = local_storage(prepared.sweep.storage)
    origin = None if fork_of is None else Ledger.open(storage, fork_of)
    prepared = as_begun(prepared, storage, origin)
    sweep = prepared.sweep
    identify = Identity(prepared.data_digests(), package_versions(), sweep.group.num_workers)
    start = find_start(prepared, storage, identify, origin, num_retries=len(retries))
    runs = sweep.confirm.num_runs(len(sweep.task.benchmarks)) if sweep.confirm else None
    progress = make_progress(log.console, trial_limit(sweep), sweep.search.metric, runs)
    progress.confirm_work = prepared.confirm_work
    if isinstance(start, Finished):
        from .mlflow_view.publisher import publish_all
        from .run.deciding import arm_summaries

        progress.say(f"sweep {sweep.name}: finished, {start.num_finished} trials; nothing to do")
        ledger = Ledger.open(storage, sweep.name)
        # Its last driver may have died before MLflow had all of it.
        uri = sweep.tracking.mlflow_uri
        unpublished = publish_all(ledger, uri, summarise=arm_summaries).error
        return SweepResult(ledger, Ending(SweepOutcome.COMPLETE), unpublished)
    if cluster.address == LOCAL:
        check_capacity(prepared.file, [local_node()])
    progress.say(f"sweep {sweep.name}: connecting to Ray ({cluster})")
    with connect(cluster), tempfile.TemporaryDirectory(prefix="droplora-") as scratch:
        from .groups.joining import wait_for_nodes
        from .groups.network import interface_fault
        from .present.report.page import leave_report
        from .run.driving import drive
        from .run.outside.notifying import tell_of_end

        nodes, waited_minutes = wait_for_nodes(sweep.group, progress.say)
        check_capacity(prepared.file, nodes, waited_minutes=waited_minutes)
        if cluster.address != LOCAL:
            require_alike(prepared.file, progress.say)
        fault = interface_fault(sweep.group) or memory_fault(prepared, nodes)
        if fault is not None:
            raise prepared.file.locate(fault)
        chosen = with_micro_batch(prepared, nodes)
        remarks = (micro_batch_note(prepared, chosen), idle_gpus(sweep.group, nodes))
        prepared, sweep = chosen, chosen.sweep
        folders = [storage, Path(scratch), *filter(None, [private_api.ray_session_folder()])]
        require_free_space(folders)
        with (
            full_disk_named(folders),
            closing(open_ledger(start, storage, sweep, identify)) as writer,
            Interruption() as interruption,
        ):
            log.move_to(writer.directory / DRIVER_LOG)
            retried = mark_retries(writer, retries, user_name())
            lines = (*retried, *take_over(writer), *start_lines(start, writer.torn))
            for line in (*lines, f"library logs: {log.path}", *notes(prepared, origin, remarks)):
                progress.say(line)
            told = partial(tell_of_end, writer, sweep.tracking.notify, progress.say)
            try:
                with progress:
                    result = drive(
                        prepared,
                        writer,
                        identify,
                        progress=progress,
                        interruption=interruption,
                        leave_report=leave_report,
                        scratch=Path(scratch),
                        folders=folders,
                    )
            except DropLoRASweepError as error:
                told(Ending(SweepOutcome.FAILED, str(error).splitlines()[0]))
                raise
            told(result.ending)
            return result
