"""A trial that is trained outside any sweep, on a group of its own."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from droplora_sweep.records.messages import Evaluated, Submission

from .connection import connect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ray.actor import ActorHandle

    from droplora_sweep.groups.manager import GroupManager
    from droplora_sweep.groups.messages import Delivery
    from droplora_sweep.records.messages import Failed
    from droplora_sweep.records.trial import Evaluation
    from droplora_sweep.spec import SweepSpec, TrialSpec
    from droplora_sweep.storage.file_set import FileSet

    from .connection import RayAddress

WAIT_S = 1.0
"""Longest wait for an answer of the pool, before signals and the group are looked at."""


class LoneGroup:
    """One group, which trains one trial after the other.

    Args:
        pool: Hands it its trials.
        groups: The group's manager.
    """

    def __init__(self, pool: ActorHandle[Any], groups: GroupManager) -> None:
        self._pool = pool
        self._groups = groups

    def train(
        self,
        trial_id: str,
        spec: TrialSpec,
        *,
        start: FileSet | None = None,
        last: int | None = None,
        on_evaluation: Callable[[Evaluation], None] = lambda _: None,
        check: Callable[[], None] = lambda: None,
    ) -> Delivery | Failed:
        """Train a trial, and return what it leaves, whose files are there until the group ends.

        Args:
            trial_id: Its name.
            spec: The trial.
            start: The adapter that it starts from; None for a fresh one.
            last: The evaluation, from 1, to end it at; None lets it train to its end.
            on_evaluation: Called with each evaluation.
            check: Called about every second; raises to end the trial.

        Raises:
            SweepError: The group cannot start, or ``check`` raises it.
        """
        from droplora_sweep.groups.pool import ask

        if start is not None:
            ask(self._pool, "start_from", trial_id, start)
        ask(self._pool, "submit", Submission(trial_id=trial_id, spec=spec.model_dump_json()))
        while isinstance(message := self._answer("receive", trial_id, check), Evaluated):
            evaluation = message.evaluation
            on_evaluation(evaluation)
            if evaluation.is_last or evaluation.number == last:
                break
            ask(self._pool, "go_on", trial_id, evaluation.number)
        ask(self._pool, "end", trial_id)
        outcome: Delivery | Failed = self._answer("outcome", trial_id, check)
        return outcome

    def _answer(self, method: str, trial_id: str, check: Callable[[], None]) -> Any:
        from droplora_sweep.groups.pool import ask

        answer = None
        while answer is None:
            check()
            self._groups.check()
            answer = ask(self._pool, method, trial_id, WAIT_S)
        return answer


@contextlib.contextmanager
def lone_group(
    sweep: SweepSpec,
    address: str | RayAddress,
    say: Callable[[str], None],
) -> Iterator[LoneGroup]:
    """Join or start a Ray cluster, and start one group of a sweep's size there.

    Args:
        sweep: The group and its model; its name and storage are not used.
        address: ``auto``, ``local``, or a Ray cluster's address.
        say: Shows the user one line.

    Raises:
        SweepError: There is no such cluster.
        InputError: A node has not the group's network interface.
    """
    group = sweep.group.model_copy(update={"max_groups": 1})
    sweep = sweep.model_copy(update={"group": group})
    with connect(address), tempfile.TemporaryDirectory(prefix="droplora-") as scratch:
        from droplora_sweep.groups.manager import GroupManager
        from droplora_sweep.groups.network import interface_fault
        from droplora_sweep.groups.pool import start_pool

        if (fault := interface_fault(group)) is not None:
            raise fault
        name = Path(scratch).name
        pool = start_pool(name, group)
        with GroupManager(
            sweep=sweep, pool=pool, pool_name=name, scratch=Path(scratch), say=say
        ) as groups:
            yield LoneGroup(pool, groups)
