"""Work of every worker of a group: lease a trial, train it, deliver it, again and again."""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import platform
import time
from dataclasses import replace
from enum import IntFlag
from functools import partial
from typing import TYPE_CHECKING, Any

import ray
from ray.exceptions import RayActorError

from droplora_sweep.errors import (
    AgreedError,
    InputError,
    SweepError,
    TrialError,
    TrialInterruptedError,
    TrialStoppedError,
)
from droplora_sweep.models.digests import model_digests_of
from droplora_sweep.records.layout import CHECKPOINTS, SNAPSHOTS
from droplora_sweep.records.messages import Decision
from droplora_sweep.spec import TrialSpec
from droplora_sweep.storage.job_inputs import place_inputs

from .capacity import workers_per_gpu
from .cluster import NAMESPACE
from .deliveries import Deliveries
from .exits import exit_reported, this_worker
from .file_server import FileClient
from .messages import Closed, Released, Scoring
from .notes import warnings_shown
from .pool import find_pool
from .reserved import reserved_gpu
from .seen import DATA, MODEL, SEARCH_MODEL, Seen
from .watchdog import Heartbeats

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from ray.actor import ActorHandle

    from droplora_sweep.errors import Fault
    from droplora_sweep.spec import CheckpointSpec, ExploitStep, ModelSpec
    from droplora_sweep.storage.file_set import FileSet
    from droplora_sweep.training.checkpoints.store import Checkpoints
    from droplora_sweep.training.population import Membership
    from droplora_sweep.training.reporting import Report
    from droplora_sweep.training.runner import TrialRunner

    from .deliveries import Outbox
    from .messages import Lease, Merging, WorkerConfig

logger = logging.getLogger(__name__)

WAIT_S = 10.0
"""Rank 0 asks the pool again this often, so that no collective waits longer for it than this."""
STEP_INTERVAL_S = 0.5
"""Progress inside a trial is passed on at most this often."""
LOOK_INTERVAL_S = 5.0
"""Ray Train is asked this often for notices of preemption, which it learns about as often."""


CONFIG = "config"
"""Key of the `WorkerConfig` in Ray Train's settings of a run."""


class _Signal(IntFlag):
    """Signal of rank 0 to the others after a step."""

    NOTHING = 0
    CHECKPOINT = 1
    LOOK = 2
    CLOSED = 4
    STOPPED = 8


def serve(train_loop_config: dict[str, WorkerConfig]) -> None:
    """Serve trials until the pool has no more, ``recycle_after`` trials are done, or a node goes.

    Runs in each worker of a Ray Train run, which has made the process group. Where Ray gives
    notice that a node of the group is about to be taken away, the trial is saved and given back,
    and the group ends; it is then started anew, on other nodes.

    Args:
        train_loop_config: Ray Train's settings, with a `WorkerConfig` alone.
    """
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    import ray.train

    config = train_loop_config[CONFIG]
    try:
        pool = find_pool(config.pool)
        server = ray.get_actor(config.file_server, namespace=NAMESPACE)
    except ValueError:
        logger.warning("group %s ends: its pool is gone, and its sweep with it", config.group)
        return
    rank = ray.train.get_context().get_world_rank()
    heartbeats = Heartbeats(pool, config.group, config.size.silence_floor_s)
    channel = WorkerChannel(
        pool=pool,
        group=config.group,
        rank=rank,
        checkpoint=config.checkpoint,
        heartbeats=heartbeats,
        deliveries=Deliveries(
            config.incoming,
            config.size.checkpoint_transport,
            FileClient(server, on_piece=lambda: heartbeats.show(in_steps=False)),
        ),
    )
    channel.enter()
    if rank == 0 and channel.sends_through_ray:
        logger.warning(
            "group %s sends checkpoints and adapters through Ray: its node does not see %s, or is "
            "not to use it",
            config.group,
            config.incoming,
        )
    with exit_reported(pool, config.group, rank), warnings_shown(pool, config.group):
        from droplora_sweep.training.runner import TrialRunner

        place_inputs()
        compared = config.compared
        if compared is not None:
            trial = TrialSpec.model_validate_json(compared.trial)
            channel.compare_models({MODEL: trial.model, SEARCH_MODEL: compared.search_model})
        threads = max(1, int(config.size.cpus_per_worker))
        runner = TrialRunner(
            config.model,
            threads=threads,
            gpu_index=reserved_gpu(),
            gpu_share=1 / workers_per_gpu(config.size),
            on_forward=heartbeats.show,
            on_arrival=channel.on_arrival,
            zero=config.zero,
        )
        if compared is not None:
            channel.compare(DATA, partial(runner.data_digests, trial))
        counter = itertools.count(1)
        while not channel.is_preempted() and (lease := channel.lease()) is not None:
            spec = TrialSpec.model_validate_json(lease.spec)
            # A search may be over a smaller model than its confirmation.
            runner.serve(spec.model, spec.training.zero)
            if isinstance(lease.work, Scoring):
                channel.score(runner, spec, lease.work)
                continue
            if lease.work is not None:
                channel.merge(lease, spec, lease.work)
                continue
            if lease.is_canary:
                channel.try_out(runner, lease, spec)
                continue
            channel.train(runner, lease, spec)
            if next(counter) == config.size.recycle_after:
                break
    channel.leave()


class WorkerChannel:
    """Channel of a worker to the pool: rank 0 calls it, the others hear through a CPU group."""

    def __init__(
        self,
        *,
        pool: ActorHandle[Any],
        group: str,
        rank: int,
        checkpoint: CheckpointSpec,
        heartbeats: Heartbeats,
        deliveries: Deliveries,
    ) -> None:
        import torch.distributed as dist

        self._pool = pool
        self._group = group
        self._rank = rank
        self._checkpoint = checkpoint
        self._control = dist.new_group(backend="gloo")
        self._step_reply: ray.ObjectRef[Any] | None = None
        self._next_step_at = 0.0
        self._next_look_at = 0.0
        self._checkpoints: Checkpoints | None = None
        self._has_begun = False
        self._heartbeats = heartbeats
        self._deliveries = deliveries

    @property
    def sends_through_ray(self) -> bool:
        """True where files go through Ray."""
        return self._deliveries.is_through_ray

    def enter(self) -> None:
        """Tell the pool that this group's processes have started, and who they are."""
        import torch.distributed as dist

        workers: list[Any] = [None] * dist.get_world_size()
        dist.all_gather_object(workers, this_worker(self._rank), group=self._control)
        self._tell("enter", self._group, workers)

    def leave(self) -> None:
        """Tell the pool that they end, and that nothing is wrong."""
        self._tell("leave", self._group)

    def lease(self) -> Lease | None:
        """Return the next trial; None once the pool is closed or has released this group."""
        answer: Lease | Released | Closed = self._ask("lease", self._group, WAIT_S)
        return None if isinstance(answer, Released | Closed) else answer

    def train(self, runner: TrialRunner, lease: Lease, spec: TrialSpec) -> None:
        """Train one trial and deliver what it leaves; or give it back, saved."""
        try:
            self._require_storage(lease)
            self._checkpoints = self._checkpoints_of(lease)
            self._has_begun = False
            with self._outbox(lease) as outbox, self._fetched(lease.start) as start:
                runner.run(
                    spec,
                    self._decide,
                    on_begin=self._on_begin,
                    on_step=self._on_step,
                    checkpoints=self._checkpoints,
                    start=start,
                    membership=self._membership_of(lease),
                    into=None if outbox is None else outbox.folder,
                )
                self._tell("finish", self._group, None if outbox is None else outbox.deliver())
        except TrialStoppedError:
            self._tell("finish", self._group, None)
        except TrialInterruptedError:
            self._tell("give_back", self._group)
        except TrialError as error:
            self._tell("fail", self._group, str(error))
        except SweepError as error:
            # Only the trial's files: the driver's disk is full, for example.
            self._tell("refuse", self._group, str(error))

    def score(self, runner: TrialRunner, spec: TrialSpec, scoring: Scoring) -> None:
        """Score a model and deliver its results, or the reason why it cannot be scored."""
        try:
            with self._fetched(scoring.files) as saved:
                found = runner.score(
                    spec,
                    scoring.split,
                    benchmarks=scoring.benchmarks,
                    saved=saved,
                    with_text=scoring.with_text,
                )
        except TrialError as error:
            self._tell("fail", self._group, str(error))
        else:
            self._tell("scored", self._group, tuple(found.results), found.metrics)

    def merge(self, lease: Lease, spec: TrialSpec, merging: Merging) -> None:
        """Merge an adapter on rank 0, and deliver the model, or the reason why it cannot be."""
        from droplora_sweep.training.merging import write_merged

        problem, files = None, None
        try:
            with self._outbox(lease) as outbox, self._fetched(merging.files) as adapter:
                if outbox is not None and adapter is not None:
                    write_merged(spec.model, adapter, outbox.folder)
                    files = outbox.deliver()
        except (TrialError, SweepError) as error:
            problem = str(error)
        if problem is None:
            self._tell("finish", self._group, files)
        else:
            self._tell("fail", self._group, problem)

    def on_arrival(self, line: str | None) -> None:
        """Show that a download goes on, and tell the user how far it is where there is a line."""
        self._heartbeats.show(in_steps=False)
        if line is not None:
            self._pool.note.remote(f"group {self._group}: {line}")

    def compare_models(self, models: Mapping[str, ModelSpec | None]) -> None:
        """Compare base models, those that are not None, by field (see `compare`)."""
        for field, model in models.items():
            if model is not None:
                self.compare(field, partial(model_digests_of, model, self.on_arrival))

    def compare(self, field: str, look: Callable[[], Mapping[str, str]]) -> None:
        """Compare what this worker sees with what others see; a collective.

        Args:
            field: Field of the file that names it.
            look: Returns the digests.

        Raises:
            InputError: A worker of this group cannot see it, or sees something else than the
                driver or another worker; on every rank.
        """
        import torch.distributed as dist

        digests: dict[str, str] = {}
        faults: list[Fault] = []
        try:
            digests = dict(look())
        except InputError as error:
            faults = [replace(one, problem=f"{one.problem}; {self.place}") for one in error.faults]
        mine = Seen(field=field, place=self.place, digests=digests), faults
        everyone: list[Any] = [None] * dist.get_world_size()
        dist.all_gather_object(everyone, mine, group=self._control)
        self._agree([faults for _, faults in everyone])
        self._agree([self._ask("compare", [seen for seen, _ in everyone])])

    @staticmethod
    def _agree(found: Sequence[list[Fault]]) -> None:
        """Raise the first faults that a worker has found, known to all of them."""
        if (faults := next(filter(None, found), None)) is not None:
            raise AgreedError(faults)

    @property
    def place(self) -> str:
        """This worker, for a message that another node's user reads."""
        return f"{platform.node()} (rank {self._rank} of group {self._group})"

    def try_out(self, runner: TrialRunner, lease: Lease, spec: TrialSpec) -> None:
        """Try a trial in little, and say that nothing is wrong, or what is.

        Raises:
            InputError: Something is missing on a worker's node, or what a trial leaves cannot be
                brought to the sweep's storage from there.
        """
        self._look(partial(runner.require_services, spec, self.place))
        assert lease.folder is not None, "a canary saves a checkpoint"
        fault = self._share(self._deliveries.fault_of(lease.folder))
        self._agree([[fault] if fault else []])
        place = self._share(self.place)
        try:
            checkpoints = self._deliveries.checkpoints(lease.folder, CHECKPOINTS)
            with self._outbox(lease) as outbox:
                folder = None if outbox is None else outbox.folder
                runner.try_out(spec, self.place, checkpoints=checkpoints, into=folder)
                problem = None if outbox is None else outbox.problem_of_delivery()
            if (problem := self._share(problem)) is not None:
                raise SweepError(problem)
        except TrialError as error:
            self._tell("fail", self._group, str(error))
        except SweepError as error:
            problem = f"must take what a trial leaves: {error}; {place}"
            raise AgreedError.of("storage", problem) from error
        else:
            self._tell("passed", self._group)

    def _look(self, look: Callable[[], None]) -> None:
        """Look for what a worker needs, on each; a collective.

        Raises:
            InputError: One of them misses something; on every rank.
        """
        import torch.distributed as dist

        faults: list[Fault] = []
        try:
            look()
        except InputError as error:
            faults = list(error.faults)
        everyone: list[Any] = [None] * dist.get_world_size()
        dist.all_gather_object(everyone, faults, group=self._control)
        self._agree(everyone)

    def is_preempted(self) -> bool:
        """Return True where a node of this group is about to be taken away; a collective."""
        import ray.train

        return ray.train.get_preemption_info() is not None

    def _require_storage(self, lease: Lease) -> None:
        """Refuse a trial whose checkpoints have no way to the sweep's storage; on every rank.

        Raises:
            SweepError: The search space asks for one that there is not.
        """
        fault = lease.folder and self._deliveries.fault_of(lease.folder)
        if (fault := self._share(fault)) is not None:
            raise SweepError(str(fault))

    def _checkpoints_of(self, lease: Lease) -> Checkpoints | None:
        """Return the trial's checkpoints; None where it keeps none."""
        from droplora_sweep.training.checkpoints.store import Checkpoints

        if lease.folder is None:
            return None
        place = self._deliveries.checkpoints(lease.folder, CHECKPOINTS)
        return Checkpoints(place, self._checkpoint)

    def _membership_of(self, lease: Lease) -> Membership | None:
        """Return a population member's snapshots and those of others; None for any other trial."""
        if lease.exploit_steps is None:
            return None
        assert lease.folder is not None, "a member's trial has a folder"
        from droplora_sweep.training.population import Membership, snapshots_of

        place_of = partial(self._deliveries.checkpoints, kind=SNAPSHOTS)
        return Membership(lease.exploit_steps, snapshots_of(lease.folder, place_of))

    @contextlib.contextmanager
    def _outbox(self, lease: Lease) -> Iterator[Outbox | None]:
        """Yield a folder for what the trial leaves, on rank 0; None elsewhere.

        Raises:
            SweepError: It cannot be made; on every rank.
        """
        with contextlib.ExitStack() as stack:
            outbox, problem = None, None
            try:
                if self._rank == 0:
                    outbox = stack.enter_context(self._deliveries.outbox(lease.trial_id))
            except SweepError as error:
                problem = str(error)
            if (problem := self._share(problem)) is not None:
                raise SweepError(problem)
            yield outbox

    @contextlib.contextmanager
    def _fetched(self, files: FileSet | None) -> Iterator[Path | None]:
        """Yield a folder with files of the driver's node, on every rank; None for None.

        Raises:
            TrialError: Some rank cannot have them; on every rank.
        """
        import torch.distributed as dist

        if files is None:
            yield None
            return
        with contextlib.ExitStack() as stack:
            folder, problem = None, None
            try:
                folder = stack.enter_context(self._deliveries.fetched(files))
            except SweepError as error:
                problem = str(error)
            problems: list[str | None] = [None] * dist.get_world_size()
            dist.all_gather_object(problems, problem, group=self._control)
            if found := next(filter(None, problems), None):
                raise TrialError(f"cannot read a saved model: {found}")
            yield folder

    def _decide(self, report: Report | None) -> Decision | ExploitStep:
        """Deliver an evaluation and wait for the scheduler's answer; the same on every rank."""
        evaluation = None
        if report is not None:
            evaluation = report.evaluation
            self._tell("report", self._group, evaluation, tuple(report.results))
        number, is_last = self._share(evaluation and (evaluation.number, evaluation.is_last))
        if is_last:
            return Decision.END
        decision: Decision | ExploitStep = self._ask("decision", self._group, number, WAIT_S)
        if decision is Decision.INTERRUPT:
            raise TrialInterruptedError("the sweep was closed")
        return decision

    def _on_begin(self, step: int, num_steps: int) -> None:
        """Tell where the lease's trial begins; a member that copies another begins once."""
        if not self._has_begun:
            self._has_begun = True
            self._tell("begin", self._group, step, num_steps)

    def _on_step(self, step: int, num_steps: int) -> bool:
        """Pass the progress on; whether a checkpoint is due; the same on every rank.

        Raises:
            TrialInterruptedError: The pool is closed, or a node is about to be taken away.
            TrialStoppedError: A user has had the trial stopped.
        """
        import torch
        import torch.distributed as dist

        box = torch.tensor([self._signal(step, num_steps) if self._rank == 0 else 0])
        dist.broadcast(box, src=0, group=self._control)
        signal = _Signal(int(box.item()))
        is_preempted = bool(signal & _Signal.LOOK) and self.is_preempted()
        if signal & _Signal.STOPPED:
            raise TrialStoppedError("a user stopped it")
        if is_preempted or signal & (_Signal.CLOSED | _Signal.CHECKPOINT):
            # A checkpoint follows, and has no pace.
            self._heartbeats.show(in_steps=False)
        if signal & _Signal.CLOSED:
            raise TrialInterruptedError("the sweep was closed")
        if is_preempted:
            raise TrialInterruptedError("a node is about to be taken away")
        return bool(signal & _Signal.CHECKPOINT)

    def _signal(self, step: int, num_steps: int) -> _Signal:
        """Return the signal of rank 0 to all."""
        answer = self._heard(step, num_steps)
        if answer is not None:
            return _Signal.STOPPED if answer is Decision.END else _Signal.CLOSED
        signal = _Signal.NOTHING
        if self._checkpoints is not None and self._checkpoints.is_due(step):
            signal |= _Signal.CHECKPOINT
        if time.monotonic() >= self._next_look_at:
            self._next_look_at = time.monotonic() + LOOK_INTERVAL_S
            signal |= _Signal.LOOK
        return signal

    def _heard(self, step: int, num_steps: int) -> Decision | None:
        """Tell the pool the step without waiting for its answer, which the next call reads."""
        if self._step_reply is None and time.monotonic() >= self._next_step_at:
            self._next_step_at = time.monotonic() + STEP_INTERVAL_S
            self._step_reply = self._pool.step.remote(self._group, step, num_steps)
        if self._step_reply is None or not ray.wait([self._step_reply], timeout=0)[0]:
            return None
        reply, self._step_reply = self._step_reply, None
        try:
            answer: Decision | None = ray.get(reply)
        except RayActorError:
            # The driver ends the sweep without its pool; what was trained is to be saved.
            return Decision.INTERRUPT
        return answer

    def _tell(self, method: str, *args: Any) -> None:
        if self._rank == 0:
            ray.get(getattr(self._pool, method).remote(*args))

    def _ask(self, method: str, *args: Any) -> Any:
        """Return the pool's answer, on every rank; asks again while the answer is None."""
        answer = None
        while answer is None:
            if self._rank == 0:
                answer = ray.get(getattr(self._pool, method).remote(*args))
            answer = self._share(answer)
        return answer

    def _share(self, value: Any) -> Any:
        """Return rank 0's value, on every rank."""
        import torch.distributed as dist

        box = [value]
        dist.broadcast_object_list(box, src=0, group=self._control)
        return box[0]
