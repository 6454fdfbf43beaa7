"""From a task's examples to a judge's ratings, which are missing rather than an error."""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Final

from droplora_sweep.errors import Fault, InputError

from .budget import Budget
from .conversations import Conversation, Rating
from .endpoint import JudgeError
from .grading import check_ready, grade

if TYPE_CHECKING:
    from collections.abc import Sequence

    from droplora_sweep.spec.evaluation import JudgeSpec
    from droplora_sweep.tasks.task import Example

_logger: Final = logging.getLogger(__name__)


def conversation_of(
    index: int, example: Example, answers: tuple[str, ...], spec: JudgeSpec
) -> Conversation:
    """What the judge is to rate.

    Reference answers are those of the spec's file, as FastChat takes them, and the example's own
    where the spec names no file.

    Args:
        index: Numbers a question whose publisher did not.
        example: Has two turns, or its instruction is the only one.
        answers: The model's, to each turn.
        spec: The judge.
    """
    number = example.id
    return Conversation(
        question_id=int(number) if number is not None and number.isdigit() else index,
        category=example.category or "",
        turns=example.turns or (example.instruction,),
        answers=answers,
        reference=_own_reference(example) if spec.references is None else None,
    )


def rate(conversations: Sequence[Conversation], spec: JudgeSpec) -> list[Rating]:
    """Each turn's rating, in order; whatever keeps the judge from rating is their reason.

    A trial's training is not lost to an endpoint that is away, a wrong key or a missing file:
    these make ratings missing, and one warning is logged. Replies in the cache are used even so.
    """
    cache = Path(spec.cache).expanduser()
    try:
        ratings = grade(conversations, spec, cache=cache)
    except (InputError, JudgeError) as error:
        ratings = _cached(conversations, spec, cache, str(error).splitlines()[0])
    missing = [rating for rating in ratings if rating.rating is None]
    if missing:
        _logger.warning(
            "%d of %d ratings are missing, the first: %s",
            len(missing),
            len(ratings),
            missing[0].reason,
        )
    return ratings


def check_judge(examples: Sequence[Example], spec: JudgeSpec) -> list[Fault]:
    """What would keep every rating, or that of a question, from being had; sends nothing."""
    faults = [
        Fault("", "task.benchmarks", f"must have at most two turns, got {len(example.turns)}")
        for example in examples
        if len(example.turns) > 2
    ]
    if faults:
        return faults[:1]
    asked = [
        conversation_of(index, example, ("",) * max(1, len(example.turns)), spec)
        for index, example in enumerate(examples)
    ]
    try:
        check_ready(asked, spec)
    except InputError as error:
        return [
            Fault("", "evaluation.judge", f"{fault.where or fault.field}: {fault.problem}")
            for fault in error.faults
        ][:3]
    return []


def judge_digests(spec: JudgeSpec) -> dict[str, str]:
    """The sha256, in hex, over each file of the judge that changes ratings, by name."""
    files = {"judge/prompts": spec.prompts, "judge/references": spec.references}
    return {
        name: hashlib.sha256(Path(file).expanduser().read_bytes()).hexdigest()
        for name, file in files.items()
        if file is not None
    }


def with_absolute_files(spec: JudgeSpec) -> JudgeSpec:
    """The judge with absolute paths, which mean the same in a worker's working folder."""
    names = ("prompts", "references", "key_file", "cache")
    given = {name: path for name in names if (path := getattr(spec, name)) is not None}
    files = {name: str(Path(path).expanduser().resolve()) for name, path in given.items()}
    return spec.model_copy(update=files)


def _cached(
    conversations: Sequence[Conversation],
    spec: JudgeSpec,
    cache: Path,
    reason: str,
) -> list[Rating]:
    """What is in the cache; the reason for all else."""
    budget = Budget(spec.max_requests, spec.max_tokens)
    budget.close(reason)
    # With a closed budget nothing is sent, so that no key is needed.
    keyless = spec.model_copy(update={"key_env": None, "key_file": None})
    try:
        return grade(conversations, keyless, cache=cache, budget=budget)
    except (InputError, JudgeError):
        return [
            Rating(one.question_id, turn, None, reason, "", 0, False, False)
            for one in conversations
            for turn in range(1, len(one.turns) + 1)
        ]


def _own_reference(example: Example) -> tuple[str, str] | None:
    match json.loads(example.answer) if example.answer else None:
        case [str(first), str(second), *_]:
            return first, second
        case _:
            return None
