"""Messages between the search, which draws trials, and the groups, which train them.

A trial goes to the groups as a `Submission`; what comes back about it are `Evaluated`, `Stopped`
and `Failed`. `search` and `groups` know nothing else of each other, and Ray Tune, which stands
between them, carries both in its own dicts: a trial's config and its results.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

    from droplora_sweep.errors import Fault

    from .trial import Evaluation


@dataclass(frozen=True, kw_only=True)
class Submission:
    """A trial that is handed to the groups.

    Attributes:
        trial_id: Its name.
        spec: Its spec as JSON.
        folder: The trial's folder in the sweep's storage, or its URL, for its checkpoints; None
            for a trial that keeps none.
        last: The last evaluation that an earlier driver had of it. It is delivered once more, so
            that the scheduler decides on it here; the ones before were decided on.
        is_member: True for a member of a population, which may copy others.
    """

    trial_id: str
    spec: str
    folder: str | None = None
    last: Evaluation | None = None
    is_member: bool = False


@dataclass(frozen=True)
class Evaluated:
    """A trial was evaluated, and waits for the scheduler unless it is at its end.

    Attributes:
        evaluation: The evaluation.
        is_repeated: True where an earlier driver had it: ledger and study have it already.
    """

    evaluation: Evaluation
    is_repeated: bool = False


@dataclass(frozen=True)
class Stopped:
    """A trial has ended early, as a user asked.

    Attributes:
        last: Its last evaluation; None where it had none.
    """

    last: Evaluation | None


@dataclass(frozen=True)
class Failed:
    """A trial gives no result.

    Attributes:
        reason: The reason, in one line.
        log: The last lines of its processes, where they died.
        faults: What is wrong with the input, where that is the reason.
        out_of_memory: True where memory ran out.
    """

    reason: str
    log: str = ""
    faults: tuple[Fault, ...] = ()
    out_of_memory: bool = False


Message: TypeAlias = Evaluated | Stopped | Failed


class Decision(Enum):
    """Answer to an evaluation, where it is not an `ExploitStep`."""

    GO_ON = "go on"
    """Train on to the next evaluation."""
    END = "end"
    """Train no more; what it has so far is its result."""
    INTERRUPT = "interrupt"
    """The sweep closes before there was a decision: save the trial, to be resumed."""


POOL = "pool"
"""Key of the pool's name in the config of a trial of Ray Tune."""
SUBMISSION = "submission"
"""Key of the `Submission` in the config of a trial of Ray Tune."""
EVALUATION = "evaluation"
"""Key of an evaluation's number in a result: Ray Tune's measure of time."""
_MESSAGE = "message"


def submission_of(config: Mapping[str, Any]) -> Submission:
    """Return what the config of a trial of Ray Tune submits."""
    submission: Submission = config[SUBMISSION]
    return submission


def tune_result(message: Message) -> dict[str, Any]:
    """Return a message as a result of Ray Tune.

    Tune's own schedulers find metrics and the evaluation's number in it; a trial that was stopped
    or failed has none, so that nothing is compared with it.
    """
    if not isinstance(message, Evaluated):
        return {_MESSAGE: message, "done": True}
    evaluation = message.evaluation
    return {
        **evaluation.metrics,
        _MESSAGE: message,
        EVALUATION: evaluation.number,
        "done": evaluation.is_last,
    }


def message_of(result: Mapping[str, Any]) -> Message:
    """Return the message that a result of Ray Tune carries."""
    message: Message = result[_MESSAGE]
    return message
