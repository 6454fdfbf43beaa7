"""Scores that need no training: the untrained model's, and winners' on the test split.

Groups make them when no trial waits, with the base model that they hold anyway. Where that fails
for the untrained model, the sweep continues without.
"""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Any

from droplora_sweep.errors import PoolLostError, SweepError
from droplora_sweep.groups.messages import Scoring
from droplora_sweep.groups.pool import ask
from droplora_sweep.ledger.files import verified_files
from droplora_sweep.records.messages import Failed
from droplora_sweep.tasks.answers import chance, most_frequent_answer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ray.actor import ActorHandle

    from droplora_sweep.evaluation.results import ExampleResult
    from droplora_sweep.groups.messages import Delivery
    from droplora_sweep.ledger.writer import LedgerWriter
    from droplora_sweep.records.trial import Reference
    from droplora_sweep.spec import TrialSpec
    from droplora_sweep.tasks.task import ScoredSplit, Task


WAIT_INTERVAL_S = 0.2


class References:
    """The scores that need no training, of one run of a sweep.

    Args:
        ledger: Keeps them.
        pool: Has groups make them.
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
        self._untrained: set[ScoredSplit] = set()
        self._on_test: set[str] = set()

    def ask(self, spec: TrialSpec, split: ScoredSplit) -> None:
        """Have the untrained model scored as a trial is, unless it was, or was asked for.

        Args:
            spec: A trial's, which says how it is scored.
            split: Split of the examples.
        """
        if split in self._untrained or split in self._ledger.record.references:
            return
        if self._submit(_of_untrained(split), spec, Scoring(split=split)):
            self._untrained.add(split)

    def collect(self) -> None:
        """Record the scores that have arrived.

        Raises:
            PoolLostError: The pool has died.
            SweepError: The ledger cannot be written, or a winner cannot be scored.
        """
        for split in sorted(self._untrained):
            outcome = self._outcome(_of_untrained(split))
            if isinstance(outcome, Failed):
                self._say(
                    f"the untrained model has no score on the {split} examples, and trials are not "
                    f"compared with it: {outcome.reason}"
                )
            elif outcome is not None:
                self._record(split, outcome.results)
            if outcome is not None:
                self._untrained.remove(split)
        for trial_id in sorted(self._on_test):
            outcome = self._outcome(_on_test(trial_id))
            if isinstance(outcome, Failed):
                raise SweepError(
                    f"{trial_id}: cannot be scored on the test split: {outcome.reason}"
                )
            if outcome is not None:
                tested = self._ledger.trial_tested(trial_id, outcome.results)
                shown = ", ".join(f"{name} {x:.1%}" for name, x in tested.test_scores.items())
                self._say(f"{trial_id} test      {shown}")
                self._on_test.remove(trial_id)

    def wait(self, should_stop: Callable[[], bool]) -> None:
        """Wait until all that was asked for is recorded, or it is told to stop.

        Args:
            should_stop: Asked a few times a second; calls `collect`.
        """
        while (self._untrained or self._on_test) and not should_stop():
            time.sleep(WAIT_INTERVAL_S)

    def score_on_test(
        self,
        wanted: Mapping[str, tuple[str, ...]],
        room: Callable[[], int],
        should_stop: Callable[[], bool],
    ) -> None:
        """Score trials on the test split and record it, each once, until it is told to stop.

        The untrained model is scored before them. What is not recorded when it is told to stop is
        scored another time.

        Args:
            wanted: Benchmarks by trial's id.
            room: Number of groups; asked again and again.
            should_stop: Asked a few times a second; calls `collect`.

        Raises:
            SweepError: An adapter is damaged.
        """
        self._say(
            f"test split: scoring {len(wanted)} adapters, once, now that everything is decided"
        )
        waiting = deque(wanted.items())
        self.ask(self._ledger.trial(waiting[0][0]).trial_spec, "test")
        while waiting and not should_stop():
            # The pool has no more of them than groups are about to take.
            while waiting and len(self._on_test) <= room():
                trial_id, benchmarks = waiting.popleft()
                trial = self._ledger.trial(trial_id)
                scoring = Scoring(split="test", benchmarks=benchmarks, files=verified_files(trial))
                if self._submit(_on_test(trial_id), trial.trial_spec, scoring):
                    self._on_test.add(trial_id)
            time.sleep(WAIT_INTERVAL_S)
        self.wait(should_stop)

    def _submit(self, name: str, spec: TrialSpec, scoring: Scoring) -> bool:
        """Have a model scored; False where the pool has died.

        That is found out, and said, by who watches the sweep.
        """
        try:
            ask(self._pool, "submit_scoring", name, spec.model_dump_json(), scoring)
        except PoolLostError:
            return False
        return True

    def _outcome(self, name: str) -> Delivery | Failed | None:
        outcome: Delivery | Failed | None = ask(self._pool, "outcome", name, 0.0)
        return outcome

    def _record(self, split: ScoredSplit, results: Sequence[ExampleResult]) -> None:
        self._say(reference_line(recorded(self._ledger, self._task, split, results)))


def _of_untrained(split: ScoredSplit) -> str:
    """Return the name under which the pool has the untrained model scored; no trial's id."""
    return f"untrained/{split}"


def _on_test(trial_id: str) -> str:
    """Return the name under which the pool has a trial scored on the test split."""
    return f"test/{trial_id}"


def recorded(
    ledger: LedgerWriter, task: Task, split: ScoredSplit, results: Sequence[ExampleResult]
) -> Reference:
    """Record the untrained model's results, with what needs no model at all.

    Args:
        ledger: Keeps them.
        task: Says which answers are possible.
        split: The examples' split.
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
    """Put the scores to beat in one line."""
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
