"""The watchdog: a group without a heartbeat for too long counts as frozen.

A worker shows progress with every forward pass and with every call to the pool, from the thread
that does the work: a thread of its own would still show it while the work hangs. A group is
silent when none of its workers shows any, since a worker that waits for a frozen one shows none.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ray.actor import ActorHandle


MAX_INTERVAL_S = 5.0
"""A sign says nothing new before; a tenth of the shortest silence that counts, if that is less."""


class Heartbeats:
    """Shows the pool that this worker makes progress, often enough and not more.

    Args:
        pool: The pool that they are shown.
        group: Name of the group.
        floor_s: Shortest silence that counts (``group.silence_floor_s``).
    """

    def __init__(self, pool: ActorHandle[Any], group: str, floor_s: float) -> None:
        self._pool = pool
        self._group = group
        self._interval_s = min(MAX_INTERVAL_S, floor_s / 10)
        self._in_steps = False
        self._next_at = 0.0

    def show(self, in_steps: bool) -> None:
        """Something was done, and what comes next is, or is not, within a training step."""
        if in_steps is self._in_steps and time.monotonic() < self._next_at:
            return
        self._in_steps = in_steps
        self._next_at = time.monotonic() + self._interval_s
        # The answer is not waited for: training must not depend on the pool's pace.
        self._pool.heartbeat.remote(self._group, in_steps)


PACE_FACTOR = 10.0
"""Times the group's own longest recent pause within steps: a busy machine or the longest examples
of an epoch stay well below, and a fast group's hang costs minutes rather than an hour."""
LONG_FACTOR = 6.0
"""Times the floor between training steps: what comes there (loading a model, tokenizing, singular
values of every layer, code answers that each use up their time limit, a checkpoint on slow storage)
has no pace to learn from, and comes once or a few times in a trial."""
LONG_PACE_FACTOR = 3.0
"""Times the longest recent pause between steps: such pauses are few and far from alike, and ten
times the loading of a model would be an hour."""
NUM_PAUSES = 64
"""Pauses that are remembered."""


@dataclass(frozen=True)
class Heartbeat:
    """Progress of one group; times in seconds of one monotonic clock.

    Attributes:
        last_s: Time when it last showed progress.
        in_steps: True where it was then within its training steps.
        pauses: Its latest pauses between two heartbeats: True where the pause began within its
            training steps, and seconds.
    """

    last_s: float
    in_steps: bool = False
    pauses: tuple[tuple[bool, float], ...] = ()

    def after(self, now_s: float, *, in_steps: bool) -> Heartbeat:
        """Return it with one heartbeat more."""
        pause = (self.in_steps, now_s - self.last_s)
        return Heartbeat(now_s, in_steps, (*self.pauses, pause)[-NUM_PAUSES:])

    def limit_s(self, floor_s: float) -> float:
        """Return how long it may be silent from its last heartbeat on."""
        alike_s = [pause_s for in_steps, pause_s in self.pauses if in_steps is self.in_steps]
        longest_s = max(alike_s, default=0.0)
        if self.in_steps:
            return max(floor_s, PACE_FACTOR * longest_s)
        return max(LONG_FACTOR * floor_s, LONG_PACE_FACTOR * longest_s)


class Watchdog:
    """Heartbeats of all groups.

    Args:
        floor_s: Silence within training steps that is never too long (``group.silence_floor_s``).
    """

    def __init__(self, floor_s: float) -> None:
        self._floor_s = floor_s
        self._heartbeats: dict[str, Heartbeat] = {}

    def start(self, group: str, now_s: float) -> None:
        """The group's processes have started; its pace is that of the ones before."""
        before = self._heartbeats.get(group, Heartbeat(now_s))
        self._heartbeats[group] = replace(before, last_s=now_s, in_steps=False)

    def heartbeat(self, group: str, now_s: float, *, in_steps: bool) -> None:
        """Take a heartbeat of one of the group's workers."""
        heartbeat = self._heartbeats.get(group)
        if heartbeat is not None:
            self._heartbeats[group] = heartbeat.after(now_s, in_steps=in_steps)

    def frozen(self, now_s: float) -> dict[str, str]:
        """The groups that have been silent for too long, and what to say of each.

        Each is named once, and again after the limit of a start, should it still be there.
        """
        found = {}
        for group, heartbeat in self._heartbeats.items():
            silent_s, limit_s = now_s - heartbeat.last_s, heartbeat.limit_s(self._floor_s)
            if silent_s > limit_s:
                stage = "a training step" if heartbeat.in_steps else "what comes between steps"
                found[group] = (
                    f"no progress for {silent_s:.0f} s in {stage}, where the limit is "
                    f"{limit_s:.0f} s"
                )
                self._heartbeats[group] = replace(heartbeat, last_s=now_s, in_steps=False)
        return found

    def is_in_steps(self, group: str) -> bool:
        """Return True where the group was within its training steps at its last heartbeat."""
        heartbeat = self._heartbeats.get(group)
        return heartbeat is not None and heartbeat.in_steps

    def forget(self, group: str) -> None:
        """The group has ended, in order."""
        self._heartbeats.pop(group, None)
