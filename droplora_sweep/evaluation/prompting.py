"""From a task's examples to tokens: as plain text, or by the tokenizer's chat template; no torch.

Everything that reads an example asks here: training, decoding, scored options and likelihoods, so
that all of them, and every backend, see the same tokens. ``prompts_of(tokenizer, task)`` gives the
way that a task's ``prompt`` asks for, and ``encode`` an example's tokens with those of them that
the loss counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from droplora_sweep.tasks.task import Message

from .chat_template import ChatTemplate
from .encoding import encode_pairs
from .tokens import prompt_tokens, response_tokens

if TYPE_CHECKING:
    from collections.abc import Sequence

    from transformers import PreTrainedTokenizerBase

    from droplora_sweep.spec.task import LossOn
    from droplora_sweep.tasks.task import Benchmark, Example, Task, TrainingSet

    from .encoding import Encoded


class Prompts(Protocol):
    """Interface of how a model is asked."""

    @property
    def end_id(self) -> int:
        """Token that ends a response in training."""
        ...

    @property
    def digest(self) -> str | None:
        """Sha256 of the chat template; None of plain text."""
        ...

    def text(self, source: TrainingSet, example: Example) -> str:
        """Return the text that the model continues to answer an example."""
        ...

    def turn(self, benchmark: Benchmark, example: Example, answers: Sequence[str]) -> str:
        """Return the text that the model continues after its answers to the turns before."""
        ...

    def tokens(self, texts: Sequence[str]) -> list[list[int]]:
        """Return such texts as the token ids that the model is given."""
        ...

    def encode(
        self, asked: Sequence[tuple[TrainingSet, Example]], loss_on: LossOn
    ) -> list[Encoded | None]:
        """Return examples with their answers, as they are trained on.

        Args:
            asked: Examples with the data sets that say how they are prompted.
            loss_on: Answers of a conversation that are counted.

        Returns:
            In their order; None where there is no answer.
        """
        ...

    def responses(
        self, source: TrainingSet, example: Example, responses: Sequence[str]
    ) -> list[list[int]]:
        """Return the tokens of each response behind an example's prompt, without the end's."""
        ...


class TextPrompts:
    """Prompts that are plain text (see ``render_prompt``); responses end with EOS.

    Args:
        tokenizer: Has an EOS token.
    """

    digest = None

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self.end_id: int = tokenizer.eos_token_id

    def text(self, source: TrainingSet, example: Example) -> str:
        """See ``Prompts``."""
        return source.render_prompt(example)

    def turn(self, benchmark: Benchmark, example: Example, answers: Sequence[str]) -> str:
        """See ``Prompts``."""
        return benchmark.render_turn(example, answers)

    def tokens(self, texts: Sequence[str]) -> list[list[int]]:
        """See ``Prompts``."""
        return prompt_tokens(self._tokenizer, texts)

    def encode(
        self, asked: Sequence[tuple[TrainingSet, Example]], loss_on: LossOn
    ) -> list[Encoded | None]:
        """See ``Prompts``; one answer each."""
        pairs = [(source.render_prompt(example), example.output) for source, example in asked]
        return encode_pairs(self._tokenizer, pairs)

    def responses(
        self, source: TrainingSet, example: Example, responses: Sequence[str]
    ) -> list[list[int]]:
        """See ``Prompts``."""
        prompt = source.render_prompt(example)
        [start] = prompt_tokens(self._tokenizer, [prompt])
        pairs = [(prompt, response) for response in responses]
        return response_tokens(self._tokenizer, pairs, [start] * len(pairs))


class ChatPrompts:
    """Prompts that the tokenizer's chat template renders; responses end as it ends a turn.

    Args:
        tokenizer: Has a chat template.

    Raises:
        InputError: It has none, or one that writes no answers.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._template = ChatTemplate(tokenizer)
        self.end_id = self._template.end_id
        self.digest = self._template.digest
        self.is_dated = self._template.is_dated

    def text(self, source: TrainingSet, example: Example) -> str:
        """See ``Prompts``."""
        return self._template.prompt(source.messages(example))

    def turn(self, benchmark: Benchmark, example: Example, answers: Sequence[str]) -> str:
        """See ``Prompts``."""
        return self._template.prompt(benchmark.messages(example, answers))

    def tokens(self, texts: Sequence[str]) -> list[list[int]]:
        """See ``Prompts``."""
        return self._template.tokens(texts)

    def encode(
        self, asked: Sequence[tuple[TrainingSet, Example]], loss_on: LossOn
    ) -> list[Encoded | None]:
        """See ``Prompts``."""
        conversations = [_answered(source, example, example.output) for source, example in asked]
        return self._template.encode(conversations, loss_on)

    def responses(
        self, source: TrainingSet, example: Example, responses: Sequence[str]
    ) -> list[list[int]]:
        """See ``Prompts``."""
        answered = [_answered(source, example, response) for response in responses]
        [prompt] = self.tokens([self.text(source, example)])
        found = []
        for sequence in self._template.encode(answered, "last_turn"):
            assert sequence is not None, "an option is no blank text"
            tokens = sequence.tokens[len(prompt) :].tolist()
            found.append(tokens[: tokens.index(self.end_id)])
        return found


def prompts_of(tokenizer: PreTrainedTokenizerBase, task: Task) -> Prompts:
    """Return how a task asks a model, by its ``prompt``.

    Raises:
        InputError: It asks for a chat template that the tokenizer does not have.
    """
    return ChatPrompts(tokenizer) if task.is_chat else TextPrompts(tokenizer)


def _answered(source: TrainingSet, example: Example, answer: str) -> list[Message]:
    return [*source.messages(example), Message("assistant", answer)]
