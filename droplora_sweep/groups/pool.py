"""The pool: one small actor through which trials, groups and the driver meet.

Calls that wait do so for at most ``wait_s`` and then answer None, so that no caller is ever
blocked by another's death: it looks around and asks again.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

import ray

from .leases import LeaseBook, Message
from .nodes import HEAD

if TYPE_CHECKING:
    from collections.abc import Callable

    from ray.actor import ActorHandle

    from .leases import Decision, Lease, Outcome

T = TypeVar("T")

NAMESPACE = "droplora-sweep"
HEAD_SHARE = {HEAD: 0.001}
"""Resources of what coordinates: it runs on the head node and takes no CPU or GPU."""


class _Pool:
    """Wraps a `LeaseBook`; every change wakes whoever waits."""

    def __init__(self, max_attempts: int) -> None:
        self._book = LeaseBook(max_attempts)
        self._changed = asyncio.Condition()

    async def _do(self, change: Callable[[], T]) -> T:
        async with self._changed:
            result = change()
            self._changed.notify_all()
            return result

    async def _wait(self, look: Callable[[], T | None], wait_s: float) -> T | None:
        deadline = asyncio.get_running_loop().time() + wait_s
        async with self._changed:
            while (found := look()) is None:
                left_s = deadline - asyncio.get_running_loop().time()
                if left_s <= 0:
                    return None
                try:
                    await asyncio.wait_for(self._changed.wait(), left_s)
                except TimeoutError:
                    return look()
            return found

    async def submit(
        self, trial_id: str, spec: str, delivered: int = 0, folder: str | None = None
    ) -> None:
        await self._do(lambda: self._book.submit(trial_id, spec, delivered, folder))

    async def receive(self, trial_id: str, wait_s: float) -> Message | None:
        def look() -> Message | None:
            # Nobody reads what a client of a closed pool says; it only must not go on waiting.
            closed = Message(0, 0, 0, {}, "the sweep was closed") if self._book.closed else None
            return self._book.receive(trial_id) or closed

        return await self._wait(look, wait_s)

    async def go_on(self, trial_id: str, evaluation: int) -> None:
        await self._do(lambda: self._book.go_on(trial_id, evaluation))

    async def end(self, trial_id: str) -> None:
        await self._do(lambda: self._book.end(trial_id))

    async def outcome(self, trial_id: str, wait_s: float) -> Outcome | None:
        return await self._wait(lambda: self._book.outcome(trial_id), wait_s)

    async def progress(self) -> dict[str, tuple[int, int]]:
        return self._book.progress()

    async def check(self) -> None:
        self._book.check()

    async def close(self) -> None:
        def close() -> None:
            self._book.closed = True

        await self._do(close)

    async def enter(self, group: str) -> None:
        await self._do(lambda: self._book.enter(group))

    async def lose(self, group: str) -> None:
        await self._do(lambda: self._book.lose(group))

    async def lease(self, group: str, wait_s: float) -> Lease | bool | None:
        """A lease, None if there is none yet, or False once the pool is closed."""

        def look() -> Lease | bool | None:
            return False if self._book.closed else self._book.lease(group)

        return await self._wait(look, wait_s)

    async def step(self, group: str, step: int, num_steps: int) -> bool:
        """Take note of a trial's progress; whether the pool is closed."""
        self._book.step(group, step, num_steps)
        return self._book.closed

    async def report(self, group: str, message: Message, results: tuple[Any, ...]) -> None:
        await self._do(lambda: self._book.report(group, message, results))

    async def decision(self, group: str, evaluation: int, wait_s: float) -> Decision | None:
        return await self._wait(lambda: self._book.decision(group, evaluation), wait_s)

    async def finish(self, group: str, files: dict[str, bytes]) -> None:
        await self._do(lambda: self._book.finish(group, files))

    async def give_back(self, group: str) -> None:
        await self._do(lambda: self._book.give_back(group))

    async def fail(self, group: str, reason: str) -> None:
        await self._do(lambda: self._book.fail(group, reason))

    async def crash(self, group: str, reason: str) -> None:
        await self._do(lambda: self._book.crash(group, reason))


def start_pool(name: str, max_attempts: int) -> ActorHandle[Any]:
    """Start a sweep's pool on the head node; it lives as long as the driver."""
    actor: Any = ray.remote(_Pool)
    options = {"num_cpus": 0, "resources": HEAD_SHARE, "max_concurrency": 1000}
    pool: ActorHandle[Any] = actor.options(name=name, namespace=NAMESPACE, **options).remote(
        max_attempts
    )
    return pool


def find_pool(name: str) -> ActorHandle[Any]:
    """The running pool of that name."""
    return ray.get_actor(name, namespace=NAMESPACE)
