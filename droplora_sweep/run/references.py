"""Has the untrained model scored beside the trials, once on each split, and records it.

A group does it when no trial waits for one, with the base model that it holds anyway; where it
fails, the sweep goes on without. On the test split the winners' scorers do it (`testing`).
"""

from __future__ import annotations

import contextlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from droplora_sweep.errors import PoolLostError
from droplora_sweep.groups.pool import ask
from droplora_sweep.tasks.guessing import chance, most_frequent_answer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Future

    from ray.actor import ActorHandle

    from droplora_sweep.evaluation import ExampleResult
    from droplora_sweep.groups import Outcome
    from droplora_sweep.ledger.writer import LedgerWriter
    from droplora_sweep.records.trial import Reference
    from droplora_sweep.spec import TrialSpec
    from droplora_sweep.tasks import ScoredSplit, Task

WAIT_S = 2.0
WAIT_INTERVAL_S = 0.2


class References:
    """The scores that need no training, of one run of a sweep.

    Args:
        ledger: Where they are recorded.
        pool: Where groups look for work.
        task: Says which answers are possible.
        say: Shows the user one line.
    """

    def __init__(
        self,
        ledger: LedgerWriter,
        pool: ActorHandle[Any],
        task: Task,
        say: Callable[[str], None],
    ) -> None:
        self._ledger = ledger
        self._pool = pool
        self._task = task
        self._say = say
        self._collector = ThreadPoolExecutor(max_workers=1, thread_name_prefix="references")
        self._waiting: dict[ScoredSplit, Future[None]] = {}
        self._abandoned = threading.Event()

    def ask(self, spec: TrialSpec) -> None:
        """Have the untrained model scored as a trial is, unless it was, or was asked for.

        Args:
            spec: A trial's, which names the split and how it is scored.
        """
        split = spec.evaluation.split
        if split in self._waiting or split in self._ledger.record.references:
            return
        name = f"untrained/{split}"
        # That the pool has died is found out, and said, by who watches the sweep.
        with contextlib.suppress(PoolLostError):
            ask(self._pool, "submit_untrained", name, spec.model_dump_json())
            self._waiting[split] = self._collector.submit(self._collect, name, split)

    def wait(self, should_stop: Callable[[], bool]) -> None:
        """Wait until what was asked for is recorded, or it is told to stop.

        Raises:
            SweepError: The ledger cannot be written.
        """
        for future in self._waiting.values():
            while not future.done():
                if should_stop():
                    return
                time.sleep(WAIT_INTERVAL_S)
            with contextlib.suppress(PoolLostError):
                future.result()

    def record(self, split: ScoredSplit, results: Sequence[ExampleResult]) -> None:
        """Record the untrained model's results, and tell the user."""
        reference = recorded(self._ledger, self._task, split, results)
        self._say(reference_line(reference))

    def close(self) -> None:
        """Leave what has not arrived for another time."""
        self._abandoned.set()
        self._collector.shutdown(wait=True)

    def _collect(self, name: str, split: ScoredSplit) -> None:
        outcome: Outcome | None = None
        while outcome is None:
            if self._abandoned.is_set():
                return
            outcome = ask(self._pool, "outcome", name, WAIT_S)
        if self._abandoned.is_set():
            return
        if outcome.failure is not None:
            self._say(
                f"the untrained model has no score on the {split} examples, and trials are not "
                f"compared with it: {outcome.failure}"
            )
            return
        self.record(split, outcome.results)


def recorded(
    ledger: LedgerWriter, task: Task, split: ScoredSplit, results: Sequence[ExampleResult]
) -> Reference:
    """Record the untrained model's results, with what needs no model at all.

    Args:
        ledger: Where to.
        task: Says which answers are possible.
        split: Which examples.
        results: Of all benchmarks.
    """
    frequent, blind = {}, {}
    scored = {(one.benchmark, one.example_id) for one in results}
    for benchmark in task.benchmarks:
        examples = [
            example
            for example in benchmark.examples(split)
            if (benchmark.name, example.digest) in scored
        ]
        if (answer := most_frequent_answer(benchmark, examples)) is not None:
            frequent[benchmark.name] = answer
        if (guessed := chance(benchmark, examples)) is not None:
            blind[benchmark.name] = guessed
    return ledger.reference_scored(split, results, frequent, blind)


def reference_line(reference: Reference) -> str:
    """What has to be beaten, in one line."""
    parts = []
    for name, score in reference.untrained.items():
        part = f"{name} {score:.1%}"
        beside = []
        if name in reference.most_frequent:
            answer, share = reference.most_frequent[name]
            beside.append(f"always {answer!r} {share:.1%}")
        if name in reference.chance:
            beside.append(f"chance {reference.chance[name]:.1%}")
        parts.append(part + (f" ({', '.join(beside)})" if beside else ""))
    return f"untrained model, {reference.split} examples: {', '.join(parts)}"
