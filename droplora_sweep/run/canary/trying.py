"""A trial that is tried in little on the first group, and what is wrong where it fails."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from droplora_sweep.errors import InputError
from droplora_sweep.groups.messages import Compared
from droplora_sweep.groups.pool import ask
from droplora_sweep.groups.seen import DATA, MODEL, SEARCH_MODEL, Seen
from droplora_sweep.models.digests import model_digests
from droplora_sweep.plan.heaviest import heaviest_trial, memory_text
from droplora_sweep.records.messages import Failed
from droplora_sweep.spec import is_hub_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from ray.actor import ActorHandle

    from droplora_sweep.plan.survey import Prepared, Survey

logger = logging.getLogger(__name__)

DRIVER = "the driver's node"
WAIT_S = 0.5
"""Longest wait for an answer of the pool, before signals and groups are looked at."""


class Canary:
    """A trial in little, of one run of a sweep.

    A search at a lower fidelity is followed by runs on all examples, which may be of another model:
    they are tried too, since what is wrong with them would show once the search has been paid for.

    Args:
        prepared: The sweep, its task and its model.
        is_search: True where the run begins with trials of the search.
        pool: Hands it to a group.
        folder: Folder or URL in the sweep's storage, for checkpoints that are read back.
        say: Shows the user one line.

    Attributes:
        compared: Model and data that every group compares.
    """

    def __init__(
        self,
        prepared: Prepared,
        *,
        is_search: bool,
        pool: ActorHandle[Any],
        folder: str,
        say: Callable[[str], None],
    ) -> None:
        searched = prepared.at_search_fidelity() if is_search else prepared
        has_another = searched.sweep.model != prepared.sweep.model
        # Groups begin with the search's model.
        self._stages: list[Survey] = [searched, prepared] if has_another else [prepared]
        self._pool = pool
        self._folder = folder
        self._say = say
        self._started_s = time.monotonic()
        search_model = searched.sweep.model if has_another else None
        self.compared = Compared(
            trial=prepared.sweep.trial.model_dump_json(), search_model=search_model
        )
        seen = [_model_here(MODEL, prepared), has_another and _model_here(SEARCH_MODEL, searched)]
        seen.append(Seen(field=DATA, place=DRIVER, digests=prepared.task.digests))
        # The pool, which is starting, is not waited for.
        pool.compare.remote(list(filter(None, seen)))
        self._submit(0)
        say("canary: trying a step on the longest sequences and an example of each benchmark first")

    def require(self, should_stop: Callable[[], bool]) -> None:
        """Wait until a group has tried it, or it is told to stop.

        Args:
            should_stop: Asked a few times a second.

        Raises:
            InputError: Something is wrong that all trials would meet.
            PoolLostError: The pool has died.
        """
        has_passed = True
        for number in range(len(self._stages)):
            outcome = None
            while outcome is None and not should_stop():
                outcome = ask(self._pool, "outcome", _name(number), WAIT_S)
            if outcome is None:
                return
            if isinstance(outcome, Failed):
                self._require(number, outcome)
                has_passed = False
            if number + 1 < len(self._stages):
                self._submit(number + 1)
        if has_passed:
            seconds = time.monotonic() - self._started_s
            self._say(f"canary: passed, {seconds:.0f} s after the start of groups")

    def _submit(self, number: int) -> None:
        trial = heaviest_trial(self._stages[number])
        self._pool.submit_canary.remote(_name(number), trial.model_dump_json(), self._folder)

    def _require(self, number: int, failed: Failed) -> None:
        """Raise what a failure means; a size that trials halve by themselves is only shown."""
        if failed.log:
            logger.warning("the canary failed: %s\n%s", failed.reason, failed.log)
        if failed.faults:
            raise InputError(list(failed.faults))
        if not failed.out_of_memory:
            problem = (
                "must pass before the first trial: a step on the longest sequences and an example "
                f"of each benchmark: {failed.reason}"
            )
            raise InputError.of("group.canary", problem)
        stage = self._stages[number]
        trial = heaviest_trial(stage)
        size = trial.training.sequences_at_once
        if stage.sweep.group.halve_micro_batch_on_oom and size > 1:
            self._say(
                f"canary: {failed.reason}; trials that run out of memory continue with half the "
                "micro-batch"
            )
            return
        planned = memory_text(stage, trial)
        problem = (
            f"must fit into a worker's memory, got {size}: a step on the longest sequences "
            f"{failed.reason}"
        )
        problem = problem if planned is None else f"{problem}; {planned}"
        raise InputError.of("training.micro_batch_size", problem)


def _name(number: int) -> str:
    return f"canary-{number}"


def _model_here(field: str, stage: Survey) -> Seen | None:
    """Return what this process sees of a model that workers are to see; None of a Hub's."""
    model = stage.model
    if model is None or model.path is None or is_hub_id(stage.sweep.model.path):
        return None
    return Seen(field=field, place=DRIVER, digests=model_digests(model.path))
