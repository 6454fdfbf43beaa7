"""Messages between the pool, the groups and the driver."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from droplora_sweep.errors import Fault
    from droplora_sweep.evaluation.results import ExampleResult
    from droplora_sweep.spec import CheckpointSpec, ExploitStep, GroupSpec, ModelSpec, ZeroSpec
    from droplora_sweep.storage.file_set import FileSet
    from droplora_sweep.tasks.task import ScoredSplit


@dataclass(frozen=True, kw_only=True)
class Compared:
    """Files that every group compares with the driver's and other groups'.

    Attributes:
        trial: A trial's spec as JSON, with its model and its data.
        search_model: The model of the search's trials, where it is another.
    """

    trial: str
    search_model: ModelSpec | None = None


@dataclass(frozen=True, kw_only=True)
class WorkerConfig:
    """Settings that every worker of a group is started with.

    Attributes:
        pool: Name of the pool.
        group: Name of the group.
        size: Size of the group, and its limits.
        model: The base model.
        zero: What the workers split of it.
        checkpoint: Intervals and number of checkpoints.
        file_server: Name of the file server.
        incoming: Folder on the driver's node for what trials leave.
        compared: What is compared between nodes before a group serves.
    """

    pool: str
    group: str
    size: GroupSpec
    model: ModelSpec
    zero: ZeroSpec
    checkpoint: CheckpointSpec
    file_server: str
    incoming: str
    compared: Compared | None = None


@dataclass(frozen=True, kw_only=True)
class Scoring:
    """A model that is scored and not trained, as its users load it.

    Attributes:
        split: Split of the examples.
        benchmarks: Names of some of the task's; None for all.
        files: Of a trained adapter, or of a whole model where its method trains one; None for the
            base model as it is.
        with_text: True to count prompts that are too long, and to measure the perplexity of the
            held-out text, too.
    """

    split: ScoredSplit
    benchmarks: tuple[str, ...] | None = None
    files: FileSet | None = None
    with_text: bool = False


@dataclass(frozen=True)
class Merging:
    """An adapter that is added to the weights of its base model.

    Attributes:
        files: The adapter's.
    """

    files: FileSet


@dataclass(frozen=True, kw_only=True)
class Lease:
    """A trial handed to a group.

    Attributes:
        trial_id: The trial.
        spec: The trial's spec as JSON.
        attempt: 1, or more where earlier groups were lost with this trial.
        folder: The trial's folder in the sweep's storage, for its checkpoints; None for a trial
            that keeps none.
        start: Files of the adapter that training starts from; None starts it anew.
        exploit_steps: Of a member of a population, where it copied others, in order; None for
            a trial that is no member.
        work: What is done in place of training; None for a trial.
        is_canary: True for one that is tried in little, and leaves nothing.
    """

    trial_id: str
    spec: str
    attempt: int
    folder: str | None = None
    start: FileSet | None = None
    exploit_steps: tuple[ExploitStep, ...] | None = None
    work: Scoring | Merging | None = None
    is_canary: bool = False


@dataclass(frozen=True)
class Closed:
    """Answer to a group that asks for a lease: the sweep ends, and there are no more."""


@dataclass(frozen=True)
class Released:
    """Answer to a group that asks for a lease: it has had no work, and ends until there is some."""


@dataclass(frozen=True, kw_only=True)
class Workload:
    """Work of all groups at one moment.

    Attributes:
        num_waiting: Trials, and models to score, that no group has yet.
        num_leased: Groups that have some work.
        idle_s: Seconds that each other group has waited for work, by name; those that start are not
            among them.
    """

    num_waiting: int
    num_leased: int
    idle_s: Mapping[str, float]


@dataclass(frozen=True)
class Delivery:
    """Adapter and results of a trial that ended in order, at its end or before.

    Attributes:
        files: The adapter's, in the driver's incoming folder; None where there is none.
        results: Per-example results of the last evaluation.
        metrics: What `Scoring.with_text` asks for.
    """

    files: FileSet | None
    results: tuple[ExampleResult, ...]
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class ExitReason:
    """Reason why a group's processes ended, as far as it is known.

    Attributes:
        reason: In one line.
        out_of_memory: True where memory ran out, so that the same would happen again.
        log: The last lines that they wrote.
        faults: What is wrong with the input, where that is the reason.
        is_raised: True where a worker said it, by an error that ended it.
    """

    reason: str = "its processes died"
    out_of_memory: bool = False
    log: str = ""
    faults: tuple[Fault, ...] = ()
    is_raised: bool = False

    def then(self, later: ExitReason) -> ExitReason:
        """Return it with what another process, or an observer, reported after it.

        The first to die gives the reason, the others say that it is gone; but that memory ran out
        is found out from outside where a process could not say it.
        """
        first = later if later.out_of_memory and not self.out_of_memory else self
        log = "\n".join(filter(None, (self.log, later.log)))
        return replace(first, log=log)


class StepsDone(NamedTuple):
    """Progress of a trial in training.

    Attributes:
        step: Optimiser steps done.
        num_steps: Steps in all.
        in_steps: True where its group is within its training steps; else it loads, evaluates or
            saves.
    """

    step: int
    num_steps: int
    in_steps: bool = True


@dataclass(frozen=True, kw_only=True)
class Beginning:
    """A group has begun to train a trial, where an earlier one left it or anew.

    Attributes:
        trial_id: The trial.
        attempt: Number of times that this driver has leased it, this time included.
        step: Optimiser steps that its checkpoint had; 0 without a usable one.
        num_steps: Steps in all.
    """

    trial_id: str
    attempt: int
    step: int
    num_steps: int


@dataclass(frozen=True)
class Adjustment:
    """A running trial's setting that was changed so that it can continue.

    Attributes:
        trial_id: The trial.
        micro_batch_size: Its micro-batch from here on; the global batch stays.
        reason: The reason, in one line.
    """

    trial_id: str
    micro_batch_size: int
    reason: str
