"""The pool: one small actor through which trials, groups and the driver meet.

Calls that wait do so for at most ``wait_s`` and then answer None, so that no caller is ever
blocked by another's death: it looks around and asks again.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, TypeVar

import ray
from ray.exceptions import RayActorError

from droplora_sweep.errors import PoolLostError

from .cluster import HEAD, why_it_died
from .exits import remains_of, start_on_their_nodes
from .leases import LeaseBook
from .messages import ExitReason, Message, StepsDone
from .watchdog import Watchdog

if TYPE_CHECKING:
    from collections.abc import Callable

    from ray.actor import ActorHandle

    from droplora_sweep.spec import ExploitStep, GroupSpec

    from .exits import Worker
    from .messages import Adjustment, Beginning, Decision, Lease, Outcome

T = TypeVar("T")

NAMESPACE = "droplora-sweep"
HEAD_SHARE = {HEAD: 0.001}
"""Resources of what coordinates: it runs on the head node and takes no CPU or GPU."""
REMAINS_TIMEOUT_S = 30.0
"""A group that was lost may start again after this, whatever is found of it."""


class _Pool:
    """Wraps a `LeaseBook` and a `Watchdog`; every change wakes whoever waits."""

    def __init__(self, group: GroupSpec) -> None:
        self._book = LeaseBook(group.max_attempts, halve_micro_batch=group.halve_micro_batch_on_oom)
        self._watchdog = Watchdog(group.silence_floor_s)
        self._workers: dict[str, list[Worker]] = {}
        self._changed = asyncio.Condition()

    async def _do(self, change: Callable[[], T]) -> T:
        async with self._changed:
            result = change()
            self._changed.notify_all()
            return result

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

    async def submit(
        self,
        trial_id: str,
        spec: str,
        delivered: int = 0,
        folder: str | None = None,
        is_member: bool = False,
    ) -> None:
        await self._do(
            lambda: self._book.submit(trial_id, spec, delivered, folder, is_member=is_member)
        )

    async def submit_untrained(self, name: str, spec: str) -> None:
        await self._do(lambda: self._book.submit_untrained(name, spec))

    async def receive(self, trial_id: str, wait_s: float) -> Message | None:
        def find() -> Message | None:
            # Nobody reads what a client of a closed pool says; it only must not go on waiting.
            closed = Message(0, 0, 0, {}, "the sweep was closed") if self._book.closed else None
            return self._book.receive(trial_id) or closed

        return await self._wait(find, wait_s)

    async def receive_any(self, trials: set[str], wait_s: float) -> tuple[str, Message] | None:
        """The first message that one of these trials has, and which trial's it is."""

        def find() -> tuple[str, Message] | None:
            found = ((each, self._book.receive(each)) for each in sorted(trials))
            return next(((each, message) for each, message in found if message is not None), None)

        return await self._wait(find, wait_s)

    async def go_on(self, trial_id: str, evaluation: int) -> None:
        await self._do(lambda: self._book.go_on(trial_id, evaluation))

    async def end(self, trial_id: str) -> None:
        await self._do(lambda: self._book.end(trial_id))

    async def stop(self, trial_id: str) -> None:
        await self._do(lambda: self._book.stop(trial_id))

    async def start_from(self, trial_id: str, files: dict[str, bytes]) -> None:
        await self._do(lambda: self._book.start_from(trial_id, files))

    async def exploit(self, trial_id: str, exploit: ExploitStep) -> None:
        await self._do(lambda: self._book.exploit(trial_id, exploit))

    async def outcome(self, trial_id: str, wait_s: float) -> Outcome | None:
        return await self._wait(lambda: self._book.outcome(trial_id), wait_s)

    async def progress(self) -> dict[str, StepsDone]:
        groups = self._book.groups()
        return {
            trial_id: StepsDone(*steps, self._watchdog.is_in_steps(groups[trial_id]))
            for trial_id, steps in self._book.progress().items()
        }

    async def check(self) -> None:
        self._book.check()

    async def close(self) -> list[str]:
        """Hand out no more leases; the groups that have processes, which end now."""

        def close() -> list[str]:
            self._book.closed = True
            return list(self._workers)

        return await self._do(close)

    async def take_adjustments(self) -> list[Adjustment]:
        return self._book.take_adjustments()

    async def take_beginnings(self) -> list[Beginning]:
        return self._book.take_beginnings()

    async def enter(self, group: str, workers: list[Worker]) -> None:
        self._watchdog.start(group, _now_s())
        await self._check(group)
        self._workers[group] = workers
        await self._do(lambda: self._book.enter(group))

    async def leave(self, group: str) -> None:
        """The group's processes end because they are to."""
        self._watchdog.forget(group)
        self._workers.pop(group, None)

    async def workers(self, group: str) -> list[Worker]:
        """The group's present processes, by rank; none before they have entered."""
        return self._workers.get(group, [])

    async def nodes(self) -> dict[str, set[str]]:
        """Ray's ids of the nodes that each present group has processes on."""
        return {
            group: {worker.node for worker in workers} for group, workers in self._workers.items()
        }

    async def lose(self, group: str) -> None:
        self._watchdog.forget(group)
        await self._check(group)
        await self._do(lambda: self._book.lose(group))

    async def lose_controller(self, group: str, reason: str) -> None:
        """The group's controller has died, and its processes with it."""
        self._book.crash(group, ExitReason(reason))
        self._watchdog.forget(group)
        await self._check(group)
        await self._do(lambda: self._book.lose_controller(group))

    async def heartbeat(self, group: str, in_steps: bool) -> None:
        """A worker of the group shows progress."""
        self._watchdog.heartbeat(group, _now_s(), in_steps=in_steps)

    async def frozen(self) -> dict[str, tuple[str, list[Worker]]]:
        """The groups that are to be ended since they show no progress: why, and who they are."""
        reasons = self._watchdog.frozen(_now_s())
        for group, reason in reasons.items():
            self._book.crash(group, ExitReason(reason))
        return {group: (why, self._workers.get(group, [])) for group, why in reasons.items()}

    async def lease(self, group: str, wait_s: float) -> Lease | bool | None:
        """A lease, None if there is none yet, or False once the pool is closed."""

        def find() -> Lease | bool | None:
            return False if self._book.closed else self._book.lease(group)

        await self.heartbeat(group, in_steps=False)
        return await self._wait(find, wait_s)

    async def begin(self, group: str, step: int, num_steps: int) -> None:
        """The group's trial trains from this step on."""
        self._book.begin(group, step, num_steps)

    async def step(self, group: str, step: int, num_steps: int) -> Decision | None:
        """Take note of a trial's progress; whether it is to end, or to be interrupted."""
        return self._book.step(group, step, num_steps)

    async def report(self, group: str, message: Message, results: tuple[Any, ...]) -> None:
        await self.heartbeat(group, in_steps=False)
        await self._do(lambda: self._book.report(group, message, results))

    async def decision(
        self, group: str, evaluation: int, wait_s: float
    ) -> Decision | ExploitStep | None:
        await self.heartbeat(group, in_steps=False)
        return await self._wait(lambda: self._book.decision(group, evaluation), wait_s)

    async def finish(self, group: str, files: dict[str, bytes]) -> None:
        await self._do(lambda: self._book.finish(group, files))

    async def give_back(self, group: str) -> None:
        await self._do(lambda: self._book.give_back(group))

    async def fail(self, group: str, reason: str) -> None:
        await self._do(lambda: self._book.fail(group, reason))

    async def crash(self, group: str, words: ExitReason) -> None:
        await self._do(lambda: self._book.crash(group, words))

    async def _check(self, group: str) -> None:
        """Learn what can be learned of the group's last processes, which have ended."""
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
    """The pool's answer to the driver.

    Raises:
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


def find_pool(name: str) -> ActorHandle[Any]:
    """The running pool of that name."""
    return ray.get_actor(name, namespace=NAMESPACE)
