"""One group that has no sweep, and what it is asked to do."""

from __future__ import annotations

import contextlib
import itertools
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from droplora_sweep.errors import InputError, SweepError
from droplora_sweep.plan.room import capacity_fault
from droplora_sweep.records.messages import Evaluated, Failed, Submission
from droplora_sweep.run.connection import LOCAL, connect, local_node, resolve_address

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from ray.actor import ActorHandle

    from droplora_sweep.groups.manager import GroupManager
    from droplora_sweep.groups.messages import Compared, Delivery, Merging, Scoring
    from droplora_sweep.groups.seen import Seen
    from droplora_sweep.records.trial import Evaluation
    from droplora_sweep.run.connection import RayAddress
    from droplora_sweep.spec import SweepSpec, TrialSpec
    from droplora_sweep.storage.file_set import FileSet

WAIT_S = 1.0
"""Longest wait for an answer of the pool, before signals and the group are looked at."""


class LoneGroup:
    """One group, which does one thing after the other.

    Args:
        pool: Hands it its work.
        groups: The group's manager.
    """

    def __init__(self, pool: ActorHandle[Any], groups: GroupManager) -> None:
        self._pool = pool
        self._groups = groups
        self._names = (f"work-{number}" for number in itertools.count())

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

    def do(self, spec: TrialSpec, work: Scoring | Merging) -> Delivery:
        """Have a model scored or an adapter merged; files are there until the group ends.

        Args:
            spec: The trial whose base model, task and evaluation these are.
            work: What is to be done.

        Raises:
            InputError: A worker cannot have the model or the data.
            SweepError: It cannot be done, or the group cannot start.
        """
        from droplora_sweep.groups.pool import ask

        name = next(self._names)
        ask(self._pool, "submit_alone", name, spec.model_dump_json(), work)
        outcome: Delivery | Failed = self._answer("outcome", name, lambda: None)
        if not isinstance(outcome, Failed):
            return outcome
        if outcome.faults:
            raise InputError(list(outcome.faults))
        raise SweepError(f"the group cannot do it: {outcome.reason}")

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
    *,
    compared: Compared | None = None,
    seen: Sequence[Seen] = (),
) -> Iterator[LoneGroup]:
    """Join or start a Ray cluster, and start one group of a sweep's size there.

    Args:
        sweep: The group and its model; its name and storage are not used.
        address: ``auto``, ``local``, or a Ray cluster's address.
        say: Shows the user one line.
        compared: What is compared between nodes before the group does anything; None compares
            nothing.
        seen: What the driver sees of them.

    Raises:
        SweepError: There is no such cluster.
        InputError: It cannot hold the group, or a node has not the group's network interface.
    """
    cluster = resolve_address(address)
    if cluster.address == LOCAL:
        _require_room(sweep, [local_node()])
    group = sweep.group.model_copy(update={"max_groups": 1})
    sweep = sweep.model_copy(update={"group": group})
    with connect(cluster), tempfile.TemporaryDirectory(prefix="droplora-") as scratch:
        from droplora_sweep.groups.joining import wait_for_nodes
        from droplora_sweep.groups.manager import GroupManager
        from droplora_sweep.groups.network import interface_fault
        from droplora_sweep.groups.pool import start_pool

        nodes, waited_minutes = wait_for_nodes(group, say)
        _require_room(sweep, nodes, waited_minutes)
        if (fault := interface_fault(group)) is not None:
            raise fault
        name = Path(scratch).name
        pool = start_pool(name, group)
        # The pool, which is starting, is not waited for.
        pool.compare.remote(list(seen))
        with GroupManager(
            sweep=sweep,
            pool=pool,
            pool_name=name,
            scratch=Path(scratch),
            say=say,
            compared=compared,
        ) as groups:
            yield LoneGroup(pool, groups)


def _require_room(
    sweep: SweepSpec, nodes: Sequence[Mapping[str, float]], waited_minutes: float = 0.0
) -> None:
    if (fault := capacity_fault(sweep.group, nodes, waited_minutes=waited_minutes)) is not None:
        raise fault
