"""What pool, groups and clients say to each other."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from droplora_sweep.spec import ExploitStep


class Decision(Enum):
    """What a trial is told after an evaluation."""

    GO_ON = "go on"
    END = "end"
    INTERRUPT = "interrupt"
    """The sweep is closing, and nobody has decided: the trial is to be resumed."""


@dataclass(frozen=True)
class Lease:
    """A trial handed to a group.

    Attributes:
        trial_id: The trial.
        spec: The trial's spec as JSON.
        attempt: 1, or more where earlier groups were lost with this trial.
        folder: The trial's folder in the sweep's storage, for its checkpoints; None for a trial
            that keeps none.
        start: The adapter that training starts from, as files; None starts it anew.
        exploit_steps: Of a member of a population, where it copied others, in order; None for
            a trial that is no member.
        is_untrained: Nothing is trained: the base model is scored as it is.
    """

    trial_id: str
    spec: str
    attempt: int
    folder: str | None = None
    start: dict[str, bytes] | None = None
    exploit_steps: tuple[ExploitStep, ...] | None = None
    is_untrained: bool = False


@dataclass(frozen=True)
class Message:
    """What a trial's client receives: an evaluation's metrics, or that there will be none.

    Attributes:
        evaluation: 1-based number of the evaluation; 0 in a failure.
        num_evaluations: Evaluations of a trial that runs to its end.
        step: Optimiser steps taken.
        metrics: Metric name to value.
        failure: Why the trial cannot give a result; None in a report.
        outcomes: Each example's score by benchmark, see ``evaluation.results.outcomes``.
        is_stopped: The trial has been stopped as a user asked.
    """

    evaluation: int
    num_evaluations: int
    step: int
    metrics: dict[str, float]
    failure: str | None = None
    is_stopped: bool = False
    outcomes: dict[str, list[float | None]] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Outcome:
    """What a trial leaves behind.

    Attributes:
        files: The adapter: file name to contents; empty where the trial failed.
        results: Per-example results of the last evaluation.
        failure: Why there is no adapter, else None.
        attempt: The attempt that gave this outcome.
        log: What the last processes of a trial that failed wrote, in lines.
    """

    files: dict[str, bytes]
    results: tuple[Any, ...]
    failure: str | None
    attempt: int
    log: str = ""


@dataclass(frozen=True)
class ExitReason:
    """Why a group's processes ended, as far as it is known.

    Attributes:
        reason: In one line.
        out_of_memory: Whether memory ran out, so that the same would happen again.
        log: What they last wrote, in lines.
    """

    reason: str = "its processes died"
    out_of_memory: bool = False
    log: str = ""

    def then(self, later: ExitReason) -> ExitReason:
        """With what another process, or an observer, said after it.

        The first to die says why, the others that it is gone; but want of memory is found out
        from outside where a process could not say it.
        """
        first = later if later.out_of_memory and not self.out_of_memory else self
        log = "\n".join(filter(None, (self.log, later.log)))
        return ExitReason(first.reason, first.out_of_memory, log)


class StepsDone(NamedTuple):
    """How far a trial in training is.

    Attributes:
        step: Optimiser steps done.
        num_steps: Steps in all.
        in_steps: Whether its group is within its training steps; else it loads, evaluates or saves.
    """

    step: int
    num_steps: int
    in_steps: bool = True


@dataclass(frozen=True)
class Beginning:
    """A group has begun to train a trial, where an earlier one left it or anew.

    Attributes:
        trial_id: The trial.
        attempt: How often this driver has leased it, this time included.
        step: Optimiser steps that its checkpoint had; 0 without a usable one.
        num_steps: Steps in all.
    """

    trial_id: str
    attempt: int
    step: int
    num_steps: int


@dataclass(frozen=True)
class Adjustment:
    """A running trial's setting that was changed so that it can go on.

    Attributes:
        trial_id: The trial.
        micro_batch_size: Its micro-batch from here on; the global batch stays.
        reason: Why, in one line.
    """

    trial_id: str
    micro_batch_size: int
    reason: str
