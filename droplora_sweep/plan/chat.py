"""Check of a sweep's conversations against the chat template of its model's tokenizer."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from droplora_sweep.errors import Fault, InputError
from droplora_sweep.evaluation.prompting import ChatPrompts
from droplora_sweep.spec.task import CHAT

from .requirements import too_short

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from droplora_sweep.spec import SweepSpec
    from droplora_sweep.spec.task import LossOn
    from droplora_sweep.tasks.task import Example, Task, TrainingSet

NUM_CHECKED: Final = 200
"""Training examples that are rendered before a sweep: those of the most turns. A group renders all
before it trains."""


@dataclass(frozen=True)
class ChatTemplateFacts:
    """A model's chat template.

    Attributes:
        digest: Sha256 of its text.
        is_dated: True where it can write the day's date into a prompt.
    """

    digest: str
    is_dated: bool

    def notes(self) -> tuple[str, ...]:
        """Return a line where prompts may differ from day to day."""
        if not self.is_dated:
            return ()
        return (
            "the chat template can write today's date into each prompt: trials of another day may "
            "be trained and scored on other prompts",
        )


def asks_by_chat(sweep: SweepSpec) -> bool:
    """Return True where a trial may use the chat template."""
    return CHAT in _values(sweep, "task.prompt")


def _values(sweep: SweepSpec, path: str) -> list[Any]:
    """Return the values of a field of the task: the sweep's own, or those that are searched."""
    searched = sweep.search.parameters.get(path)
    own = getattr(sweep.task, path.removeprefix("task."))
    return [own] if searched is None else list(getattr(searched, "values", ()))


def look_at_chat_template(
    sweep: SweepSpec, task: Task | None, faults: list[Fault]
) -> ChatTemplateFacts | None:
    """Return the chat template of a sweep's model; None, with its faults added, if it is refused.

    Args:
        sweep: Its model is on this machine.
        task: Its conversations; None where they are not here, or a text prompt reads them.
        faults: Takes what is wrong.
    """
    # Only a sweep with `prompt: chat` needs transformers here; the import takes seconds.
    from droplora_sweep.models.loading import load_tokenizer

    try:
        prompts = ChatPrompts(load_tokenizer(sweep.model))
        if task is not None:
            asked = sorted(
                task.training_examples(),
                key=lambda one: (len(one[1].history), one[1].system is not None),
                reverse=True,
            )
            for loss_on in _values(sweep, "task.loss_on"):
                prompts.encode(asked[:NUM_CHECKED], loss_on)
                faults += too_short(sweep, _shortest(prompts, asked, loss_on), len(asked))
            for benchmark in task.benchmarks:
                for example in islice(benchmark.validation, NUM_CHECKED):
                    prompts.text(benchmark, example)
    except InputError as error:
        faults += error.faults
        return None
    return ChatTemplateFacts(prompts.digest, prompts.is_dated)


def _shortest(
    prompts: ChatPrompts, asked: Sequence[tuple[TrainingSet, Example]], loss_on: LossOn
) -> Iterator[int]:
    """Yield the tokens up to the first counted answer of each conversation, the shortest first."""

    def num_characters(one: tuple[TrainingSet, Example]) -> int:
        asked_before = sum(len(text) for text, _ in one[1].history)
        return len(one[1].instruction) + asked_before

    by_length = sorted(asked, key=num_characters)
    for start in range(0, len(by_length), NUM_CHECKED):
        for one in prompts.encode(by_length[start : start + NUM_CHECKED], loss_on):
            if one is not None:
                yield one.num_needed_tokens
