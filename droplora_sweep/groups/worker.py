"""What every worker of a group runs: lease a trial, train it, deliver it, again and again."""

from __future__ import annotations

import contextlib
import itertools
import os
import time
import traceback
from typing import TYPE_CHECKING, Any

import ray

from droplora_sweep.errors import TrialError

from .leases import Message
from .pool import find_pool

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ray.actor import ActorHandle

    from droplora_sweep.training import Report, Resident

    from .leases import Lease

WAIT_S = 10.0
"""Rank 0 asks the pool again this often, so that no collective waits longer for it than this."""
STEP_INTERVAL_S = 0.5
"""Progress inside a trial is passed on at most this often."""


def serve(config: dict[str, Any]) -> None:
    """Serve trials until the pool closes or ``recycle_after`` trials are done.

    Runs in each worker of a Ray Train run, which has made the process group.

    Args:
        config: ``pool`` and ``group`` (names), ``model`` (a ModelSpec as JSON), ``threads``
            (torch threads of a CPU worker) and ``recycle_after`` (trials, or None).
    """
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    import ray.train

    pool = find_pool(config["pool"])
    rank = ray.train.get_context().get_world_rank()
    if rank == 0:
        ray.get(pool.enter.remote(config["group"]))
    with _last_words(pool, config["group"]):
        from droplora_sweep.spec import ModelSpec
        from droplora_sweep.training import Resident

        model = ModelSpec.model_validate_json(config["model"])
        resident = Resident(model, threads=config["threads"])
        counter = itertools.count(1)
        line = _Line(pool, config["group"], rank)
        while (lease := line.lease()) is not None:
            line.train(resident, lease)
            if next(counter) == config["recycle_after"]:
                return


@contextlib.contextmanager
def _last_words(pool: ActorHandle[Any], group: str) -> Iterator[None]:
    """Tell the pool why this process ends; Ray Train then restarts the group."""
    try:
        yield
    except Exception as error:
        reason = traceback.format_exception_only(error)[-1].strip()
        ray.get(pool.crash.remote(group, reason))
        raise


class _Line:
    """One worker's line to the pool: rank 0 talks, the others hear it over a CPU process group."""

    def __init__(self, pool: ActorHandle[Any], group: str, rank: int) -> None:
        import torch.distributed as dist

        self._pool = pool
        self._group = group
        self._rank = rank
        self._control = dist.new_group(backend="gloo")
        self._step_reply: ray.ObjectRef[Any] | None = None
        self._next_step_at = 0.0

    def lease(self) -> Lease | None:
        """The next trial; None once the pool is closed."""
        lease = self._ask("lease", self._group, WAIT_S)
        return lease or None

    def train(self, resident: Resident, lease: Lease) -> None:
        """Train one trial and deliver what it leaves."""
        from droplora_sweep.spec import TrialSpec

        spec = TrialSpec.model_validate_json(lease.spec)
        try:
            files = resident.run(spec, self._decide, on_step=self._on_step)
        except TrialError as error:
            self._tell("fail", self._group, str(error))
        else:
            self._tell("finish", self._group, files)

    def _decide(self, report: Report | None) -> bool:
        """Deliver an evaluation and wait for the scheduler's word; the same on every rank."""
        if report is not None:
            message = Message(
                report.evaluation, report.num_evaluations, report.step, report.metrics
            )
            self._tell("report", self._group, message, report.results)
        last, evaluation = self._share(
            report and (report.evaluation == report.num_evaluations, report.evaluation)
        )
        return not last and bool(self._ask("decision", self._group, evaluation, WAIT_S))

    def _on_step(self, step: int, num_steps: int) -> None:
        """Pass the progress on; once the pool is closed, end the trial on every rank at once."""
        import torch
        import torch.distributed as dist

        is_closed = torch.tensor([self._rank == 0 and self._hears_closing(step, num_steps)])
        dist.broadcast(is_closed, src=0, group=self._control)
        if is_closed.item():
            raise TrialError("the sweep was closed")

    def _hears_closing(self, step: int, num_steps: int) -> bool:
        """Tell the pool the step without waiting for its answer, which the next call reads."""
        if self._step_reply is None and time.monotonic() >= self._next_step_at:
            self._next_step_at = time.monotonic() + STEP_INTERVAL_S
            self._step_reply = self._pool.step.remote(self._group, step, num_steps)
        if self._step_reply is None or not ray.wait([self._step_reply], timeout=0)[0]:
            return False
        reply, self._step_reply = self._step_reply, None
        return bool(ray.get(reply))

    def _tell(self, method: str, *args: Any) -> None:
        if self._rank == 0:
            ray.get(getattr(self._pool, method).remote(*args))

    def _ask(self, method: str, *args: Any) -> Any:
        """The pool's answer, on every rank; asks again while the answer is None."""
        answer = None
        while answer is None:
            if self._rank == 0:
                answer = ray.get(getattr(self._pool, method).remote(*args))
            answer = self._share(answer)
        return answer

    def _share(self, value: Any) -> Any:
        """Rank 0's value, on every rank."""
        import torch.distributed as dist

        box = [value]
        dist.broadcast_object_list(box, src=0, group=self._control)
        return box[0]
