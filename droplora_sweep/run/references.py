"""Scores beside the trials and after them: the untrained model's, and winners' on the test split.

A group scores the untrained model, which it holds anyway, when no trial waits for a group. Where
that fails, the sweep continues without.

The winners are scored after the groups have ended, so that each scorer has a worker's CPUs and GPUs
to itself. It loads the base model once and scores one adapter after the other, loaded as their
users load them.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
import time
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray

from droplora_sweep.errors import PoolLostError, SweepError
from droplora_sweep.groups.capacity import worker_capacity
from droplora_sweep.groups.cluster import cluster_nodes
from droplora_sweep.groups.pool import ask
from droplora_sweep.ledger.files import verified_files
from droplora_sweep.records.messages import Failed
from droplora_sweep.spec import TrialSpec
from droplora_sweep.tasks.answers import chance, most_frequent_answer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ray.actor import ActorHandle

    from droplora_sweep.evaluation.results import ExampleResult
    from droplora_sweep.groups.messages import Delivery
    from droplora_sweep.ledger.writer import LedgerWriter
    from droplora_sweep.records.trial import Reference
    from droplora_sweep.spec import GroupSpec
    from droplora_sweep.tasks.task import ScoredSplit, Task


WAIT_INTERVAL_S = 0.2


class References:
    """The scores that need no training, of one run of a sweep.

    Args:
        ledger: Keeps them.
        pool: Has groups score the untrained model.
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
        self._waiting: set[ScoredSplit] = set()

    def ask(self, spec: TrialSpec) -> None:
        """Have the untrained model scored as a trial is, unless it was, or was asked for.

        Args:
            spec: A trial's, which names the split and how it is scored.
        """
        split = spec.evaluation.split
        if split in self._waiting or split in self._ledger.record.references:
            return
        # That the pool has died is found out, and said, by who watches the sweep.
        with contextlib.suppress(PoolLostError):
            ask(self._pool, "submit_untrained", _name(split), spec.model_dump_json())
            self._waiting.add(split)

    def collect(self) -> None:
        """Record the scores that have arrived.

        Raises:
            PoolLostError: The pool has died.
            SweepError: The ledger cannot be written.
        """
        for split in sorted(self._waiting):
            outcome: Delivery | Failed | None = ask(self._pool, "outcome", _name(split), 0.0)
            if outcome is None:
                continue
            if isinstance(outcome, Failed):
                self._say(
                    f"the untrained model has no score on the {split} examples, and trials are not "
                    f"compared with it: {outcome.reason}"
                )
            else:
                self._record(split, outcome.results)
            self._waiting.remove(split)

    def wait(self, should_stop: Callable[[], bool]) -> None:
        """Wait until all that was asked for is recorded, or it is told to stop.

        Args:
            should_stop: Asked a few times a second; calls `collect`.
        """
        while self._waiting and not should_stop():
            time.sleep(WAIT_INTERVAL_S)

    def score_on_test(
        self,
        wanted: Mapping[str, tuple[str, ...]],
        group: GroupSpec,
        should_stop: Callable[[], bool],
    ) -> None:
        """Score trials on the test split and record it, each once, until it is told to stop.

        The untrained model is scored with the first of them.

        Args:
            wanted: Benchmarks by trial's id.
            group: CPUs and GPUs of a worker.
            should_stop: Asked a few times a second; what is not recorded then is scored another
                time.

        Raises:
            SweepError: A scorer died again and again, or an adapter is damaged.
        """
        self._say(
            f"test split: scoring {len(wanted)} adapters, once, now that everything is decided"
        )
        lacks_untrained = "test" not in self._ledger.record.references
        room = max(1, worker_capacity(group, cluster_nodes()))
        actor: Any = ray.remote(_TestScorer)
        scorers = [
            actor.options(
                num_cpus=group.cpus_per_worker,
                num_gpus=group.gpus_per_worker,
                max_restarts=MAX_RETRIES,
                max_task_retries=MAX_RETRIES,
            ).remote(None if group.gpus_per_worker else max(1, int(group.cpus_per_worker)))
            for _ in range(min(room, len(wanted) + lacks_untrained))
        ]
        waiting: dict[Any, str | None] = {}
        try:
            if lacks_untrained:
                # The last scorer has the fewest adapters.
                first = self._ledger.trial(next(iter(wanted)))
                waiting[scorers[-1].score.remote(json.dumps(first.spec), None, None)] = None
            for scorer, (trial_id, benchmarks) in zip(cycle(scorers), wanted.items(), strict=False):
                trial = self._ledger.trial(trial_id)
                files = verified_files(trial)
                waiting[scorer.score.remote(json.dumps(trial.spec), files, benchmarks)] = trial_id
            while waiting and not should_stop():
                done, _ = ray.wait(list(waiting), timeout=POLL_S)
                for reply in done:
                    scored = waiting.pop(reply)
                    if scored is None:
                        self._record("test", _result(reply, "untrained model"))
                        continue
                    tested = self._ledger.trial_tested(scored, _result(reply, scored))
                    shown = ", ".join(f"{name} {x:.1%}" for name, x in tested.test_scores.items())
                    self._say(f"{scored} test      {shown}")
        finally:
            for scorer in scorers:
                ray.kill(scorer)

    def _record(self, split: ScoredSplit, results: Sequence[ExampleResult]) -> None:
        self._say(reference_line(recorded(self._ledger, self._task, split, results)))


def _name(split: ScoredSplit) -> str:
    """Return the name under which the pool has the untrained model scored; no trial's id."""
    return f"untrained/{split}"


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


POLL_S = 0.5
MAX_RETRIES = 2
"""A scorer that dies is started again this often for one adapter."""


class _TestScorer:
    """Scores adapters on a worker's node, which imports what the driver does not need."""

    def __init__(self, threads: int | None) -> None:
        import torch

        if threads is not None:
            torch.set_num_threads(threads)
        self._scorer: Any = None
        self._key: object = None

    def score(
        self, spec: str, files: Mapping[str, bytes] | None, benchmarks: tuple[str, ...] | None
    ) -> list[ExampleResult]:
        """Return every result of these benchmarks' test splits.

        Args:
            spec: The trial's spec as JSON.
            files: Its adapter; None scores the untrained model.
            benchmarks: Their names; None for all.
        """
        from droplora_sweep.export.scoring import AdapterScorer

        trial = TrialSpec.model_validate_json(spec)
        key = (trial.task, trial.evaluation)
        if key != self._key:
            self._scorer, self._key = AdapterScorer(trial), key
        if files is None:
            untrained: list[ExampleResult] = self._scorer(None, "test", benchmarks)
            return untrained
        with tempfile.TemporaryDirectory() as folder:
            for name, content in files.items():
                path = Path(folder) / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            results: list[ExampleResult] = self._scorer(Path(folder), "test", benchmarks)
        return results


def _result(reply: Any, trial_id: str) -> list[ExampleResult]:
    try:
        results: list[ExampleResult] = ray.get(reply)
    except ray.exceptions.RayError as error:
        reason = str(error).strip().splitlines()[-1]
        raise SweepError(f"{trial_id}: cannot be scored on the test split: {reason}") from error
    return results
