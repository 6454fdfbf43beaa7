"""A trial that is tried in little on the first group, and what is wrong where it fails."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from droplora_sweep.errors import InputError
from droplora_sweep.groups.pool import ask
from droplora_sweep.groups.seen import Seen
from droplora_sweep.models.digests import model_digests
from droplora_sweep.plan.heaviest import heaviest_trial, memory_text
from droplora_sweep.records.messages import Failed
from droplora_sweep.spec import is_hub_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from ray.actor import ActorHandle

    from droplora_sweep.plan.survey import Prepared
    from droplora_sweep.spec import TrialSpec

logger = logging.getLogger(__name__)

NAME = "canary"
"""Name of its lease; no trial's."""
WAIT_S = 0.5
"""Longest wait for an answer of the pool, before signals and groups are looked at."""


class Canary:
    """A trial in little, of one run of a sweep.

    Args:
        prepared: The sweep, its task and its model.
        is_search: True where the run begins with trials of the search, which may be of another
            model, and on fewer examples.
        pool: Hands it to a group.
        say: Shows the user one line.

    Attributes:
        compared: The trial whose model and data every group compares.
    """

    def __init__(
        self,
        prepared: Prepared,
        *,
        is_search: bool,
        pool: ActorHandle[Any],
        say: Callable[[str], None],
    ) -> None:
        self._found = prepared.at_search_fidelity() if is_search else prepared
        self._pool = pool
        self._say = say
        self._started_s = time.monotonic()
        self.compared: TrialSpec = self._found.sweep.trial
        self._trial = heaviest_trial(self._found)
        for seen in self._seen_here(prepared):
            # The pool, which is starting, is not waited for.
            pool.compare.remote([seen])
        pool.submit_canary.remote(NAME, self._trial.model_dump_json())
        say("canary: trying a step on the longest sequences and an example of each benchmark first")

    def _seen_here(self, prepared: Prepared) -> list[Seen]:
        """Return what this process sees of the files that workers are to see."""
        model, place = self._found.model, "the driver's node"
        seen = []
        if model is not None and model.path is not None and not is_hub_id(self.compared.model.path):
            digests = model_digests(model.path)
            seen.append(Seen(field="model.path", place=place, digests=digests))
        if self.compared.task == prepared.sweep.task:
            seen.append(Seen(field="task.data", place=place, digests=prepared.task.digests))
        return seen

    def require(self, should_stop: Callable[[], bool]) -> None:
        """Wait until a group has tried it, or it is told to stop.

        Args:
            should_stop: Asked a few times a second.

        Raises:
            InputError: Something is wrong that all trials would meet.
            PoolLostError: The pool has died.
        """
        outcome = None
        while outcome is None and not should_stop():
            outcome = ask(self._pool, "outcome", NAME, WAIT_S)
        if not isinstance(outcome, Failed):
            if outcome is not None:
                seconds = time.monotonic() - self._started_s
                self._say(f"canary: passed, {seconds:.0f} s after the start of groups")
            return
        if outcome.log:
            logger.warning("the canary failed: %s\n%s", outcome.reason, outcome.log)
        if outcome.faults:
            raise InputError(list(outcome.faults))
        if not outcome.out_of_memory:
            problem = (
                "must pass before the first trial: a step on the longest sequences and an example "
                f"of each benchmark: {outcome.reason}"
            )
            raise InputError.of("group.canary", problem)
        size = self._trial.training.sequences_at_once
        if self._found.sweep.group.halve_micro_batch_on_oom and size > 1:
            self._say(
                f"canary: {outcome.reason}; trials that run out of memory continue with half the "
                "micro-batch"
            )
            return
        planned = memory_text(self._found, self._trial)
        problem = (
            f"must fit into a worker's memory, got {size}: a step on the longest sequences "
            f"{outcome.reason}"
        )
        problem = problem if planned is None else f"{problem}; {planned}"
        raise InputError.of("training.micro_batch_size", problem)
