"""A sweep from start to end: the parts, in the order in which they act.

search space -> trial spec -> training on a group -> evaluation -> ledger -> selection
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .display.progress import TICK_INTERVAL_S, make_progress
from .driver.connection import LOCAL, connect, local_node, resolve_address
from .driver.interruption import Interruption
from .driver.preflight import check_room, check_sandbox, remote_code_note
from .errors import SweepError
from .selection import best_per_benchmark, decisions_text
from .spec import fingerprint, package_versions
from .tracking import Ledger, SweepOutcome, trial_id

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .display.noise import NoiseLog
    from .display.progress import Progress
    from .driver.preflight import Prepared
    from .driver.recorder import Recorder
    from .groups.manager import GroupManager
    from .selection import Decision
    from .spec import SweepSpec, TrialSpec


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


def run_sweep(prepared: Prepared, *, address: str, log: NoiseLog) -> SweepResult:
    """Run a sweep that was checked, to its end or to the first SIGINT or SIGTERM.

    Args:
        prepared: The sweep, its task and its model.
        address: ``auto``, ``local``, or a Ray cluster's address.
        log: Where the noise goes, and the console for what is left.

    Raises:
        InputError: A group is larger than the cluster can ever be, or code answers would have to
            be run without a sandbox.
        SweepError: There is no such cluster, or the sweep's name is taken.
    """
    address = resolve_address(address)
    check_sandbox(prepared.file, prepared.task)
    Ledger.require_new(Path(prepared.sweep.storage), prepared.sweep.name)
    if address == LOCAL:
        check_room(prepared.file, [local_node()])
    sweep = prepared.sweep
    progress = make_progress(log.console, sweep.search.num_trials, sweep.search.metric)
    progress.say(f"sweep {sweep.name}: connecting to Ray ({address})")
    with connect(address), tempfile.TemporaryDirectory(prefix="droplora-") as scratch:
        from .groups.nodes import cluster_nodes

        check_room(prepared.file, cluster_nodes())
        versions = package_versions()
        digests = prepared.data_digests()
        ledger = Ledger.create(Path(sweep.storage), sweep, data_digests=digests, versions=versions)
        log.move_to(ledger.directory / "driver.log")
        progress.say(f"noise goes to {log.path}")
        if note := remote_code_note(sweep):
            progress.say(note)
        identify = partial(_identify, digests, versions, sweep.group.num_workers)
        with Interruption() as interruption, progress:
            return _drive(sweep, ledger, identify, interruption, progress, Path(scratch))


def decide(ledger: Ledger) -> list[Decision]:
    """The best pruning rate per benchmark, from what a sweep's ledger holds.

    Raises:
        SweepError: No trial is complete.
    """
    return best_per_benchmark(ledger.records(), ledger.scores)


def protocol(ledger: Ledger) -> str:
    """By which protocol the sweep's responses are read."""
    return str(ledger.record.spec["evaluation"]["protocol"])


def _drive(
    sweep: SweepSpec,
    ledger: Ledger,
    identify: Callable[[int, TrialSpec], tuple[str, str]],
    interruption: Interruption,
    progress: Progress,
    scratch: Path,
) -> SweepResult:
    """Start groups, search, and bring ledger and MLflow to a final state, whatever happens."""
    from .driver.recorder import Recorder
    from .groups.client import TrialClient
    from .groups.manager import GroupManager
    from .groups.pool import HEAD_SHARE, start_pool
    from .search import StudySearcher, run_search
    from .tracking.mlflow_view import MlflowPublisher

    pool_name = f"{sweep.name}-{ledger.record.sweep_id}"
    pool = start_pool(pool_name, sweep.group.max_attempts)
    ledger.subscribe(progress.event)
    outcome = SweepOutcome.FAILED
    reason: str | None = "a bug or a broken machine, see the log"
    recorder = Recorder(ledger, pool)
    with GroupManager(sweep, pool, pool_name, scratch) as groups:
        # MLflow takes seconds to import, which the groups take to start.
        publisher = MlflowPublisher(
            ledger, sweep.tracking.mlflow_uri, lambda text: progress.say(f"MLflow: {text}")
        )
        watch = _Watch(interruption, groups, recorder, pool, progress)
        try:
            run_search(
                TrialClient,
                pool_name,
                sweep,
                StudySearcher(sweep, ledger.study, identify, lambda: groups.num_groups),
                recorder,
                client_resources=HEAD_SHARE,
                should_stop=watch,
                scratch=scratch,
            )
            recorder.close(abandon=watch.reason is not None)
            outcome, reason = watch.outcome, watch.reason
        finally:
            recorder.close(abandon=True)
            try:
                ledger.sweep_finished(outcome, reason=reason, summary=_summary(ledger))
            finally:
                published = publisher.close()
                ledger.close()
    return SweepResult(ledger, outcome, reason, published.error)


def _identify(
    data_digests: Mapping[str, str],
    versions: Mapping[str, str],
    num_workers: int,
    number: int,
    spec: TrialSpec,
) -> tuple[str, str]:
    """Trial id and fingerprint of a numbered trial."""
    digest = fingerprint(spec, data_digests, versions, num_workers=num_workers)
    return trial_id(number, digest), digest


def _summary(ledger: Ledger) -> dict[str, str]:
    """What the parent run shows, by file name; README.md is its description."""
    try:
        return {"README.md": decisions_text(decide(ledger), protocol(ledger))}
    except SweepError as error:
        return {"README.md": str(error)}


class _Watch:
    """Asked at every turn of the search whether to stop; looks around a few times a second.

    Attributes:
        outcome: How the sweep ends if it ended now.
        reason: Why it does not run to its end, or None.
    """

    def __init__(
        self,
        interruption: Interruption,
        groups: GroupManager,
        recorder: Recorder,
        pool: Any,
        progress: Progress,
    ) -> None:
        self.outcome = SweepOutcome.COMPLETE
        self.reason: str | None = None
        self._interruption = interruption
        self._groups = groups
        self._recorder = recorder
        self._pool = pool
        self._progress = progress
        self._next_look = 0.0

    def __call__(self) -> bool:
        if self.reason is None and time.monotonic() >= self._next_look:
            self._look()
            self._next_look = time.monotonic() + TICK_INTERVAL_S
        return self.reason is not None

    def _look(self) -> None:
        import ray

        if self._interruption.signal is not None:
            self.outcome, self.reason = SweepOutcome.INTERRUPTED, self._interruption.signal
            return
        try:
            self._recorder.check()
            self._groups.check()
        except (SweepError, OSError) as error:
            self.outcome, self.reason = SweepOutcome.FAILED, str(error)
            return
        self._progress.tick(ray.get(self._pool.progress.remote()))
