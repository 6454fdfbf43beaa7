"""A canary: what trials do, once and in little, so that a problem shows before hours are spent.

It trains one step of a trial on the longest sequences that its data have, with micro-batches as
large as a trial's, and evaluates an example of each benchmark on every worker.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import cycle, islice
from typing import TYPE_CHECKING, Final

import torch.distributed as dist

from droplora_sweep.errors import DropLoRASweepError, InputError, SweepError
from droplora_sweep.evaluation.judging.reach import problem_of_endpoint
from droplora_sweep.scorers.code_runner import require_sandbox
from droplora_sweep.spec.methods import method_of

from .checkpoints.places import step_name
from .checkpoints.store import checkpoint_files, read_checkpoint
from .device import share_from_first

if TYPE_CHECKING:
    from collections.abc import Iterator

    from droplora_sweep.spec.trial import TrialSpec
    from droplora_sweep.tasks.task import Benchmark, Task

    from .checkpoints.places import CheckpointPlace
    from .data import Reading
    from .position import Checkpoint

MAX_NEW_TOKENS: Final = 32
"""Tokens of a response at most: long ones take minutes, and go the same way."""


def in_little(spec: TrialSpec, world_size: int) -> TrialSpec:
    """Return a trial of the fewest steps that its method has, and of one evaluation.

    A step has one micro-batch on each worker, as large as the trial's.

    Args:
        spec: The trial.
        world_size: Workers of a group.
    """
    training = spec.training
    batch = min(training.global_batch_size, world_size * training.micro_batch_size)
    evaluation = spec.evaluation
    return spec.model_copy(
        update={
            "training": training.model_copy(update={"epochs": 1, "global_batch_size": batch}),
            "evaluation": evaluation.model_copy(
                update={
                    "num_evaluations": 1,
                    "max_new_tokens": min(evaluation.max_new_tokens, MAX_NEW_TOKENS),
                }
            ),
        }
    )


def longest(reading: Reading, spec: TrialSpec, world_size: int) -> Reading:
    """Return a reading with the longest sequences, and with few examples to score.

    Each worker has one of each benchmark.

    A benchmark that has none to validate on is tried on those of its test split: their files have
    to be there too, and nothing is kept of what they give.

    Args:
        reading: Of the whole trial.
        spec: As `in_little` returns it.
        world_size: Workers of a group.
    """
    num_steps = max(1, method_of(spec.adapter.method).min_steps)
    ordered = sorted(reading.data.sequences, key=lambda one: -len(one.tokens))
    sequences = tuple(islice(cycle(ordered), num_steps * spec.training.global_batch_size))
    split = spec.evaluation.split

    def shortened(benchmark: Benchmark) -> Benchmark:
        examples = benchmark.examples(split) or benchmark.test()
        few = examples[:world_size]
        if split == "confirmation":
            return replace(benchmark, confirmation=few)
        return replace(benchmark, validation=few)

    task = replace(reading.task, benchmarks=tuple(map(shortened, reading.task.benchmarks)))
    return replace(reading, task=task, data=replace(reading.data, sequences=sequences))


class CanaryCheckpoint:
    """A checkpoint that is written where a trial's would be, read back, and removed.

    Args:
        place: Its place; only rank 0 looks there.
    """

    def __init__(self, place: CheckpointPlace) -> None:
        self._place = place

    def usable(self, identity: str) -> Iterator[Checkpoint]:
        """There is none to resume from."""
        del identity
        return iter(())

    def save(self, identity: str, checkpoint: Checkpoint) -> None:
        """Write one, and read it back; a collective.

        Raises:
            SweepError: That cannot be done; on every rank.
        """
        problem = None
        if dist.get_rank() == 0:
            try:
                self._try(identity, checkpoint)
            except OSError as error:
                problem = f"{error.filename or self._place}: cannot write: {error.strerror}"
            except SweepError as error:
                problem = str(error)
        if (problem := share_from_first(problem)) is not None:
            raise SweepError(problem)

    def _try(self, identity: str, checkpoint: Checkpoint) -> None:
        name = step_name(checkpoint.position.step)
        try:
            self._place.publish(name, checkpoint_files(checkpoint, identity))
            with self._place.folder(name) as folder:
                read_checkpoint(folder, identity)
        finally:
            self._place.clear()


def require_services(spec: TrialSpec, task: Task, place: str) -> None:
    """See that what scores responses can be had on this node: the sandbox and the judge.

    Args:
        spec: The trial.
        task: Its task.
        place: This worker, for messages.

    Raises:
        InputError: Something is missing.
    """
    evaluation = spec.evaluation
    if any(benchmark.scorer.runs_code for benchmark in task.benchmarks):
        try:
            require_sandbox(allow_unsandboxed=evaluation.allow_unsandboxed_code)
        except DropLoRASweepError as error:
            problem = f"{error}; {place}"
            raise InputError.of("evaluation.allow_unsandboxed_code", problem) from error
    judge = evaluation.judge
    if judge is None or not any(benchmark.scorer.is_rated for benchmark in task.benchmarks):
        return
    if (reason := problem_of_endpoint(judge)) is not None:
        # The URL may hold the key.
        problem = f"must answer on every worker's node, got {reason}; {place}"
        raise InputError.of("evaluation.judge.url", problem)


def field_of_scorer(task: Task) -> str:
    """Return the field of the file that names the user's scorer, where there is one."""
    own = [benchmark.name for benchmark in task.benchmarks if benchmark.scorer.is_own]
    return f"task.benchmarks.{own[0]}.scoring" if len(own) == 1 else "task.scoring"
