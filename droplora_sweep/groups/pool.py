"""The pool: one small actor through which trials, groups and the driver meet.

Calls that wait do so for at most ``wait_s`` and then answer None, so that no caller is ever
blocked by another's death: it looks around and asks again.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from typing import TYPE_CHECKING, Any, TypeVar

import ray
from ray.exceptions import RayActorError, RayTaskError

from droplora_sweep.errors import DropLoRASweepError, PoolLostError
from droplora_sweep.records.messages import Failed

from .cluster import HEAD, NAMESPACE, why_it_died
from .exits import remains_of, start_on_their_nodes
from .leases import LeaseBook
from .messages import Closed, ExitReason, Lease, StepsDone, Workload
from .watchdog import Watchdog

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ray.actor import ActorHandle

    from droplora_sweep.evaluation.results import ExampleResult
    from droplora_sweep.records.messages import Decision, Message
    from droplora_sweep.records.trial import Evaluation
    from droplora_sweep.spec import ExploitStep, GroupSpec

    from .exits import Worker
    from .messages import Delivery, Released

T = TypeVar("T")

HEAD_SHARE = {HEAD: 0.001}
"""Resources of what coordinates: it runs on the head node and takes no CPU or GPU."""
OUTCOME_WAIT_S = 2.0
"""Longest wait for an outcome before the caller looks whether it is abandoned."""
REMAINS_TIMEOUT_S = 30.0
"""A group that was lost may start again after this, whatever is found of it."""


def _waking(step: Callable[..., T]) -> Callable[..., Awaitable[T]]:
    """Make a step of the lease book a method of the pool that wakes whoever waits for a change."""

    @functools.wraps(step)
    async def method(self: _Pool, *args: Any) -> T:
        async with self._changed:
            result = step(self._book, *args)
            self._changed.notify_all()
            return result

    return method


class _Pool:
    """Wraps a `LeaseBook` and a `Watchdog`; every change wakes whoever waits."""

    def __init__(self, group: GroupSpec) -> None:
        self._book = LeaseBook(group.max_attempts, halve_micro_batch=group.halve_micro_batch_on_oom)
        self._watchdog = Watchdog(group.silence_floor_s)
        self._workers: dict[str, list[Worker]] = {}
        self._idle_since: dict[str, float] = {}
        self._notes: list[str] = []
        self._changed = asyncio.Condition()

    async def _wait(self, find: Callable[[], T | None], wait_s: float) -> T | None:
        deadline = asyncio.get_running_loop().time() + wait_s
        async with self._changed:
            while (found := find()) is None:
                left_s = deadline - asyncio.get_running_loop().time()
                if left_s <= 0:
                    return None
                try:
                    await asyncio.wait_for(self._changed.wait(), left_s)
                except TimeoutError:
                    return find()
            return found

    submit = _waking(LeaseBook.submit)
    retry = _waking(LeaseBook.retry)
    submit_scoring = _waking(LeaseBook.submit_scoring)
    submit_alone = _waking(LeaseBook.submit_alone)
    submit_canary = _waking(LeaseBook.submit_canary)
    start_from = _waking(LeaseBook.start_from)
    exploit = _waking(LeaseBook.exploit)
    go_on = _waking(LeaseBook.go_on)
    end = _waking(LeaseBook.end)
    stop = _waking(LeaseBook.stop)
    check = _waking(LeaseBook.check)
    take_adjustments = _waking(LeaseBook.take_adjustments)
    take_beginnings = _waking(LeaseBook.take_beginnings)
    begin = _waking(LeaseBook.begin)
    step = _waking(LeaseBook.step)
    scored = _waking(LeaseBook.scored)
    passed = _waking(LeaseBook.passed)
    compare = _waking(LeaseBook.compare)
    finish = _waking(LeaseBook.finish)
    give_back = _waking(LeaseBook.give_back)
    refuse = _waking(LeaseBook.refuse)
    fail = _waking(LeaseBook.fail)
    crash = _waking(LeaseBook.crash)
    _report = _waking(LeaseBook.report)
    _enter = _waking(LeaseBook.enter)
    _lose = _waking(LeaseBook.lose)
    _lose_controller = _waking(LeaseBook.lose_controller)

    async def receive(self, trial_id: str, wait_s: float) -> Message | None:
        """Return the trial's next message; a failure where the pool is closed and there is none."""

        def find() -> Message | None:
            # Only so that a client of a closed pool stops waiting.
            closed = Failed("the sweep was closed") if self._book.closed else None
            return self._book.receive(trial_id) or closed

        return await self._wait(find, wait_s)

    async def receive_any(self, trials: set[str], wait_s: float) -> tuple[str, Message] | None:
        """Return the first message that one of these trials has, with the trial's id."""

        def find() -> tuple[str, Message] | None:
            found = ((each, self._book.receive(each)) for each in sorted(trials))
            return next(((each, message) for each, message in found if message is not None), None)

        return await self._wait(find, wait_s)

    async def outcome(self, trial_id: str, wait_s: float) -> Delivery | Failed | None:
        """Return what the trial leaves; None if it has not ended meanwhile."""
        return await self._wait(lambda: self._book.outcome(trial_id), wait_s)

    async def progress(self) -> dict[str, StepsDone]:
        groups = self._book.groups()
        return {
            trial_id: StepsDone(*steps, self._watchdog.is_in_steps(groups[trial_id]))
            for trial_id, steps in self._book.progress().items()
        }

    async def close(self) -> list[str]:
        """Hand out no more leases; return the groups that have processes, which end now."""
        async with self._changed:
            self._book.closed = True
            self._changed.notify_all()
        return list(self._workers)

    async def enter(self, group: str, workers: list[Worker]) -> None:
        """The group's processes have started."""
        self._watchdog.start(group, _now_s())
        self._idle_since.pop(group, None)
        await self._examine(group)
        self._workers[group] = workers
        await self._enter(group)

    async def leave(self, group: str) -> None:
        """The group's processes end because they are to."""
        self._idle_since.pop(group, None)
        self._watchdog.forget(group)
        self._workers.pop(group, None)

    async def workers(self, group: str) -> list[Worker]:
        """Return the group's present processes, by rank; none before they have entered."""
        return self._workers.get(group, [])

    async def nodes(self) -> dict[str, set[str]]:
        """Return Ray's ids of the nodes that each present group has processes on."""
        return {
            group: {worker.node for worker in workers} for group, workers in self._workers.items()
        }

    async def workload(self) -> Workload:
        """Return the work that there is, and the groups that wait for some."""
        now_s = _now_s()
        return Workload(
            num_waiting=self._book.num_waiting,
            num_leased=self._book.num_leased,
            idle_s={group: now_s - since_s for group, since_s in self._idle_since.items()},
        )

    async def release(self, group: str) -> bool:
        """Have a group that waits for work end; False where it has some now, or some waits.

        A lease is handed out under the same lock, so that a group gets one or ends.
        """
        async with self._changed:
            is_released = group in self._idle_since and self._book.release(group)
            self._changed.notify_all()
            return is_released

    async def is_released(self, group: str) -> bool:
        """Return True where a group was told to end and has not been started again."""
        return self._book.is_released(group)

    async def lose(self, group: str) -> None:
        """The group's processes are gone."""
        self._idle_since.pop(group, None)
        self._watchdog.forget(group)
        await self._examine(group)
        await self._lose(group)

    async def lose_controller(self, group: str, reason: str) -> None:
        """The group's controller has died, and its processes with it."""
        self._idle_since.pop(group, None)
        self._book.crash(group, ExitReason(reason))
        self._watchdog.forget(group)
        await self._examine(group)
        await self._lose_controller(group)

    async def heartbeat(self, group: str, in_steps: bool) -> None:
        """A worker of the group shows progress."""
        self._watchdog.heartbeat(group, _now_s(), in_steps=in_steps)

    async def note(self, line: str) -> None:
        """A worker has a line for the user."""
        self._notes.append(line)

    async def take_notes(self) -> list[str]:
        """Return the lines since the last call."""
        taken, self._notes = self._notes, []
        return taken

    async def frozen(self) -> dict[str, tuple[str, list[Worker]]]:
        """Return the groups to end since they show no progress: the reason, and their processes."""
        reasons = self._watchdog.frozen(_now_s())
        for group, reason in reasons.items():
            self._book.crash(group, ExitReason(reason))
        return {group: (why, self._workers.get(group, [])) for group, why in reasons.items()}

    async def lease(self, group: str, wait_s: float) -> Lease | Released | Closed | None:
        """Return the group's next lease; None if there is none yet."""

        def find() -> Lease | Released | Closed | None:
            answer = Closed() if self._book.closed else self._book.lease(group)
            if answer is not None:
                self._idle_since.pop(group, None)
            return answer

        await self.heartbeat(group, in_steps=False)
        self._idle_since.setdefault(group, _now_s())
        return await self._wait(find, wait_s)

    async def report(
        self, group: str, evaluation: Evaluation, results: tuple[ExampleResult, ...]
    ) -> None:
        """The group has evaluated its trial."""
        await self.heartbeat(group, in_steps=False)
        await self._report(group, evaluation, results)

    async def decision(
        self, group: str, evaluation: int, wait_s: float
    ) -> Decision | ExploitStep | None:
        """Return the answer to the evaluation of that number; None if there is none yet."""
        await self.heartbeat(group, in_steps=False)
        return await self._wait(lambda: self._book.decision(group, evaluation), wait_s)

    async def _examine(self, group: str) -> None:
        """Find out why the group's last processes have ended."""
        workers = self._workers.pop(group, [])
        looks = asyncio.gather(*start_on_their_nodes(remains_of, workers), return_exceptions=True)
        with contextlib.suppress(TimeoutError):
            for remains in await asyncio.wait_for(looks, REMAINS_TIMEOUT_S):
                # Of a node that is gone nothing can be learned.
                if not isinstance(remains, BaseException) and remains is not None:
                    self._book.crash(group, remains)


def _now_s() -> float:
    return asyncio.get_running_loop().time()


def start_pool(name: str, group: GroupSpec) -> ActorHandle[Any]:
    """Start a sweep's pool on the head node; it lives as long as the driver."""
    actor: Any = ray.remote(_Pool)
    options = {"num_cpus": 0, "resources": HEAD_SHARE, "max_concurrency": 1000}
    pool: ActorHandle[Any] = actor.options(name=name, namespace=NAMESPACE, **options).remote(group)
    return pool


def ask(pool: ActorHandle[Any], method: str, *args: Any) -> Any:
    """Return the pool's answer to the driver.

    Raises:
        DropLoRASweepError: What the method raises there.
        PoolLostError: The pool has died. What it knew of running trials is gone with it; all that
            had been told is in the ledger, and a driver that resumes the sweep starts another.
    """
    try:
        return ray.get(getattr(pool, method).remote(*args))
    except RayActorError as error:
        raise PoolLostError(
            "the death of the pool, the process on the head node in which trials and groups meet: "
            f"{why_it_died(error)}"
        ) from error
    except RayTaskError as error:
        # As text it is the whole traceback in the actor.
        if isinstance(error.cause, DropLoRASweepError):
            raise error.cause from error
        raise


def ask_outcome(
    pool: ActorHandle[Any], name: str, is_abandoned: Callable[[], bool]
) -> Delivery | Failed | None:
    """Wait for what a trial leaves; None where it is abandoned before.

    Raises:
        PoolLostError: The pool has died.
    """
    outcome: Delivery | Failed | None = None
    while outcome is None and not is_abandoned():
        outcome = ask(pool, "outcome", name, OUTCOME_WAIT_S)
    return None if is_abandoned() else outcome


def find_pool(name: str) -> ActorHandle[Any]:
    """Return the running pool of that name."""
    return ray.get_actor(name, namespace=NAMESPACE)
