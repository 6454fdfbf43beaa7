"""The groups of a sweep: as many as the cluster has room for, checked for health.

The health checks end groups that are frozen, give back the trials of groups that are lost, and tell
the user of missing nodes.
"""

from __future__ import annotations

import itertools
import logging
import os
import threading
import time
from typing import TYPE_CHECKING, Any

import ray
from ray.exceptions import RayActorError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from droplora_sweep import private_api
from droplora_sweep.errors import InputError, PoolLostError, SweepError
from droplora_sweep.spec import trial_limit
from droplora_sweep.storage.incoming import clear_incoming, fresh_incoming

from .capacity import RoomNotice, group_capacity
from .cluster import cluster_nodes, give_back_placement_groups, why_it_died
from .exits import kill, start_on_their_nodes
from .file_server import start_file_server
from .messages import WorkerConfig, Workload
from .network import worker_environment
from .pool import ask
from .reserved import gpu_faults
from .scaling import decide_scaling
from .worker import CONFIG, serve

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from ray.actor import ActorHandle

    from droplora_sweep.spec import GroupSpec, SweepSpec

    from .exits import Worker
    from .messages import Compared


logger = logging.getLogger(__name__)

KILL_TIMEOUT_S = 60.0
"""A node that cannot start one small process in this time is as frozen as the group."""


class HealthChecks:
    """Health checks of the groups, made every few seconds.

    Args:
        group: Size of a group.
        pool: The pool, to which groups show their progress.
        say: Shows the user one line.
    """

    def __init__(
        self, group: GroupSpec, pool: ActorHandle[Any], say: Callable[[str], None]
    ) -> None:
        self._pool = pool
        self._say = say
        self._notice = RoomNotice(group)

    def make(self, nodes: Sequence[Mapping[str, float]]) -> None:
        """Check every group once.

        Args:
            nodes: Total resources of each node.
        """
        if (notice := self._notice.after(nodes, time.monotonic())) is not None:
            self._say(notice)
        for note in ask(self._pool, "take_notes"):
            self._say(note)
        self._lose_with_their_nodes()
        frozen = ask(self._pool, "frozen")
        for name, (reason, workers) in frozen.items():
            self._say(f"group {name} is ended and started again: {reason}")
            if self._end(workers):
                ask(self._pool, "lose", name)

    def _lose_with_their_nodes(self) -> None:
        """Take the trials of groups whose node is gone; they may never find another node."""
        living = _living_nodes()
        present = ask(self._pool, "nodes")
        for name, nodes in present.items():
            if nodes - living:
                self._say(
                    f"group {name} has lost a node; its trial resumes from its newest checkpoint"
                )
                ask(self._pool, "lose", name)

    def _end(self, workers: Sequence[Worker]) -> bool:
        """End a group; True where no process of it is left, and Ray Train can start new ones."""
        if not workers:
            return True
        ends = start_on_their_nodes(kill, workers)
        ready, late = ray.wait(ends, num_returns=len(ends), timeout=KILL_TIMEOUT_S)
        failed = list(late)
        for end in ready:
            try:
                ray.get(end)
            except RayError as error:
                logger.warning("cannot end a silent group's processes on its node: %s", error)
                failed.append(end)
        return not failed or not _living_nodes() & {worker.node for worker in workers}


def _living_nodes() -> set[str]:
    nodes: Any = ray.nodes()
    return {node["NodeID"] for node in nodes if node["Alive"]}


GROWTH_INTERVAL_S = 5.0
"""Time between two looks at the cluster's size and the health of groups."""
CLOSE_TIMEOUT_S = 300.0
"""Groups end at their next step or evaluation, and are not waited for longer than this."""
SETTLE_S = 10.0
"""A group that is starting when it is told to end is given so long to end, or to do nothing but
wait for room: Ray ends a process, with exit code 1, whose threads call it after its shutdown."""
GPU_LOOK_S = 60.0
"""Torch is imported on every node with a GPU within this."""
RAY_TRAIN_SETTINGS = {
    # Its default of 2 s delays the notice of each group's end by as much.
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",
    # Its default of 60 s is shorter than the boot of a machine that an autoscaler adds.
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "1800",
}
"""Settings that Ray Train reads from the driver's environment; a value that is set there wins."""


class GroupManager:
    """Starts groups and lets them go; a context manager.

    Each group is one long-lived ``TorchTrainer`` run in a thread of the driver. Ray Train restarts
    a group that loses a worker; a group that recycled itself, or lost the controller of its run, is
    started again here. The run of a group that is released ends, and its placement group with it;
    a group that starts in its place has its name.

    Args:
        sweep: The sweep that the groups train.
        pool: The pool of its trials.
        pool_name: The pool's name, for them.
        scratch: Folder for Ray Train's own files.
        incoming: Folder for what trials leave, until it is published; one below ``scratch`` where
            None. What is in it is removed before and after.
        say: Shows the user one line.
        has_work: False starts none: there is nothing to train or to score.
        compared: What groups compare between nodes before they train; None compares nothing.
    """

    def __init__(
        self,
        *,
        sweep: SweepSpec,
        pool: ActorHandle[Any],
        pool_name: str,
        scratch: Path,
        incoming: Path | None = None,
        say: Callable[[str], None] = logger.warning,
        has_work: bool = True,
        compared: Compared | None = None,
    ) -> None:
        self._sweep = sweep
        self._pool = pool
        self._pool_name = pool_name
        self._scratch = scratch
        self._incoming = incoming or scratch / "incoming"
        self._received = self._incoming
        self._file_server: ActorHandle[Any] | None = None
        self._threads: dict[str, threading.Thread] = {}
        self._generations: dict[str, itertools.count[int]] = {}
        self._released: set[str] = set()
        self._room = 0
        self._closing = threading.Event()
        self._grower = threading.Thread(target=self._grow, name="groups", daemon=True)
        self._failure: SweepError | InputError | None = None
        self._close_by: float | None = None
        self._present: list[str] = []
        self._say = say
        self._has_work = has_work
        self._compared = compared
        self._health_checks = HealthChecks(sweep.group, pool, say)

    def __enter__(self) -> GroupManager:
        if not self._has_work:
            clear_incoming(self._incoming)
            return self
        self._received = fresh_incoming(self._incoming)
        self._file_server = start_file_server(self._file_server_name, self._received)
        for name, value in RAY_TRAIN_SETTINGS.items():
            os.environ.setdefault(name, value)
        # Its helpers look for their Ray's dashboard, and give up where the host has several Rays.
        private_api.let_ray_train_propagate("RAY_ADDRESS")
        private_api.start_autoscaling_coordinator()
        # The pool, which is starting, is not waited for.
        self._scale(cluster_nodes(), Workload(num_waiting=0, num_leased=0, idle_s={}))
        self._grower.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.end()

    def end(self) -> None:
        """Take no more trials, and wait until the groups have given back what they held."""
        self.close()
        if self._has_work:
            self._grower.join()
        assert self._close_by is not None
        settled_by = time.monotonic() + SETTLE_S
        for thread in self._threads.values():
            # One without processes may wait for room that never comes; it ends with the driver.
            end_by = self._close_by if thread.name in self._present else settled_by
            thread.join(max(0.0, end_by - time.monotonic()))

        clear_incoming(self._incoming)

    def close(self, within_s: float = CLOSE_TIMEOUT_S) -> None:
        """Take no more trials and end; groups that train save their trial first.

        Does not wait: leaving the context does, until the time is up. The first call decides.
        """
        if self._close_by is None:
            self._close_by = time.monotonic() + within_s
            self._closing.set()
            try:
                self._present = ask(self._pool, "close")
            except PoolLostError:
                # Workers see it for themselves, and save what they train.
                self._present = list(self._threads)

    @property
    def num_groups(self) -> int:
        """Groups that can be there at once: those that were started so far, released or not."""
        return self._room

    @property
    def num_released(self) -> int:
        """Groups that have ended until there is work for them."""
        return len(self._released)

    def check(self) -> None:
        """Raise an error with its reason where a group cannot work at all.

        Raises:
            SweepError: It has ended for good.
            InputError: It has not the GPUs that the search space asks for.
        """
        if self._failure is not None:
            raise self._failure
        ask(self._pool, "check")

    def _grow(self) -> None:
        while not self._closing.wait(GROWTH_INTERVAL_S):
            try:
                nodes = cluster_nodes()
                self._scale(nodes, ask(self._pool, "workload"))
                self._health_checks.make(nodes)
            except Exception as error:  # A thread's error must reach the driver.
                logger.exception("the groups can no longer be watched")
                self._fail("the groups can no longer be watched", error)
                return

    def _scale(self, nodes: Sequence[Mapping[str, float]], workload: Workload) -> None:
        """Start the groups that are missing, and release those that have had no work for long."""
        if self._failure is not None:
            return
        room = group_capacity(self._sweep.group, nodes)
        limit = trial_limit(self._sweep)
        most = room if limit is None else min(room, limit)
        self._room = max(self._room, most)
        ended = [name for name, thread in self._threads.items() if not thread.is_alive()]
        for name in ended:
            del self._threads[name]
        self._released.update(ended)
        minutes = self._sweep.group.release_after_minutes
        scaling = decide_scaling(
            self._threads,
            workload,
            room=most,
            num_released=len(self._released),
            release_after_s=None if minutes is None else minutes * 60,
        )
        for _ in range(scaling.num_new):
            taken = {*self._threads, *self._released}
            self._start(next(name for i in itertools.count() if (name := f"g{i}") not in taken))
        for name in sorted(self._released)[: scaling.num_again]:
            self._released.remove(name)
            self._say(f"group {name} starts again: there is work for it")
            self._start(name)
        for name in scaling.releases:
            if ask(self._pool, "release", name):
                self._say(
                    f"group {name} has had no work for {minutes:g} min: it ends and gives its "
                    "workers back, until there is work for it"
                )

    def _start(self, name: str) -> None:
        thread = threading.Thread(target=self._keep, args=(name,), name=name, daemon=True)
        self._threads[name] = thread
        thread.start()

    def _keep(self, name: str) -> None:
        """Keep one group running until the sweep closes or the group is released."""
        generations = self._generations.setdefault(name, itertools.count())
        while not self._closing.is_set():
            try:
                try:
                    self._fit(name, f"{name}-{next(generations)}")
                except RayActorError as error:
                    if not self._closing.is_set():
                        self._lose_controller(name, error)
                if ask(self._pool, "is_released", name):
                    return
            except Exception as error:  # A thread's error must reach the driver.
                logger.exception("group %s ended", name)
                self._fail(f"group {name} ended", self._of_its_gpu(error))
                return

    def _of_its_gpu(self, error: Exception) -> Exception:
        """Return what is wrong with GPUs where that may be why a group ended; else the error.

        Ray Train makes the process group before a worker can look at its GPU. The group may still
        hold that, so none is reserved to look.
        """
        if not self._sweep.group.gpus_per_worker:
            return error
        nodes: Any = ray.nodes()
        looks = [
            ray.remote(num_cpus=0, max_retries=0)(gpu_faults)
            .options(scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False))
            .remote()
            for node in nodes
            if node["Alive"] and node["Resources"].get("GPU")
        ]
        try:
            found = ray.get(looks, timeout=GPU_LOOK_S)
        except RayError:
            return error
        faults = [fault for faults in found for fault in faults]
        return InputError(faults) if faults else error

    def _lose_controller(self, name: str, error: RayActorError) -> None:
        """Take a group's trial, and make room for the group that follows."""
        reason = f"its Ray Train controller died: {why_it_died(error)}"
        logger.warning("group %s: %s", name, reason, exc_info=error)
        ask(self._pool, "lose_controller", name, reason)
        give_back_placement_groups()
        self._say(f"group {name} is started again: {reason}")

    def _fail(self, what: str, error: Exception) -> None:
        """Let `check` tell the driver, in a line; the log has the traceback."""
        if self._closing.is_set():
            return
        if isinstance(error, SweepError | InputError):
            self._failure = error
        else:
            self._failure = SweepError(f"{what}: {type(error).__name__}: {told(error)}")

    @property
    def _file_server_name(self) -> str:
        return f"{self._pool_name}-files"

    def _fit(self, name: str, run_name: str) -> None:
        from ray.train import FailureConfig, RunConfig, ScalingConfig
        from ray.train.torch import TorchTrainer

        group = self._sweep.group
        resources: dict[str, Any] = {"CPU": group.cpus_per_worker}
        if group.gpus_per_worker:
            resources["GPU"] = group.gpus_per_worker
        # Type checkers see Ray Train's older configuration, which has no such field.
        options: dict[str, Any] = {"worker_runtime_env": worker_environment(group)}
        trainer = private_api.without_datasets(TorchTrainer)
        trainer(
            serve,
            train_loop_config={
                CONFIG: WorkerConfig(
                    pool=self._pool_name,
                    group=name,
                    size=group,
                    model=self._sweep.model,
                    zero=self._sweep.training.zero,
                    checkpoint=self._sweep.checkpoint,
                    file_server=self._file_server_name,
                    incoming=str(self._received),
                    compared=self._compared,
                )
            },
            scaling_config=ScalingConfig(
                num_workers=group.num_workers,
                use_gpu=group.gpus_per_worker > 0,
                resources_per_worker=resources,
                placement_strategy=group.placement.upper(),
                accelerator_type=group.accelerator_type,
            ),
            run_config=RunConfig(
                name=run_name,
                storage_path=str(self._scratch / "groups"),
                failure_config=FailureConfig(max_failures=-1),
                **options,
            ),
        ).fit()


def told(error: Exception) -> str:
    r"""Return what an error says, in a line.

    Errors of Ray Train announce a traceback, whose last line has the reason.

    >>> told(ValueError("Training failed:\nTraceback\nRuntimeError: no NCCL\n"))
    'RuntimeError: no NCCL'
    >>> told(ValueError("no room")), told(ValueError())
    ('no room', 'no reason given')
    """
    lines = str(error).strip().splitlines() or ["no reason given"]
    return lines[-1].strip() if lines[0].endswith(":") else lines[0]
