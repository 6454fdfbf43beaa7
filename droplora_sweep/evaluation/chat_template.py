"""A tokenizer's chat template: conversations as text, as tokens, and which of them are answers.

Where a template marks what the assistant says (``{% generation %}``), the marks are used, as TRL
uses them. Where it does not, the beginnings of a conversation are rendered one by one: each answer
is what stands behind the prompt that asks for it. That holds if every beginning is the exact
beginning of the whole, and is checked of each conversation; a template that writes earlier turns
otherwise once later ones follow is refused, unless the last answer alone is trained on.

The tokens are those of transformers' ``apply_chat_template``: the text holds every special token,
BOS included, and the tokenizer adds none.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from droplora_sweep.errors import InputError
from droplora_sweep.tasks.task import CHAT_DATE, Message

from .encoding import Encoded, encoded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from transformers import PreTrainedTokenizerBase

    from droplora_sweep.spec.task import LossOn

_MARKS: Final = re.compile(r"\{%-?\s*generation\s*-?%\}")
"""The beginning of what the assistant says, as transformers recognises it."""

_QUESTION, _ANSWER = "probe question", "probe answer"


def template_text(tokenizer: PreTrainedTokenizerBase) -> str | None:
    """Return the tokenizer's chat template; None where it has none."""
    try:
        text: str = tokenizer.get_chat_template()
    # Also where it has several, and none of them is the default.
    except ValueError:
        return None
    return text


@dataclass(frozen=True)
class _End:
    """Behind an answer: the text to the end of its turn, and how much of it is counted.

    Attributes:
        text: What follows the last answer of a conversation.
        num_counted: Characters of it that the model must say: up to its token that ends a turn.
        token: That token; None where the template has none.
    """

    text: str
    num_counted: int
    token: int | None


class ChatTemplate:
    """The chat template of a model's tokenizer.

    Args:
        tokenizer: The model's.

    Raises:
        InputError: It has no chat template, or one that takes no question with an answer.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self._name = tokenizer.name_or_path
        text = template_text(tokenizer)
        if text is None:
            problem = (
                "must be a text where the tokenizer has no chat template, got chat and "
                f"{self._name}, which has none; put its chat_template.jinja into the model's "
                "folder, or leave `task.prompt` out"
            )
            raise InputError.of("task.prompt", problem)
        self._is_marked = _MARKS.search(text) is not None and bool(tokenizer.is_fast)
        self.digest = hashlib.sha256(text.encode()).hexdigest()
        self.is_dated = "strftime_now" in text
        self._end = self._find_end()

    @property
    def end_id(self) -> int:
        """Token that ends an answer: the template's own, else EOS."""
        eos_id: int = self._tokenizer.eos_token_id
        return eos_id if self._end.token is None else self._end.token

    def prompt(self, messages: Sequence[Message]) -> str:
        """Return the text that the model continues: the conversation so far, and the answer's head.

        Raises:
            InputError: The template refuses the conversation, or leaves the system's text out.
        """
        return self._render(messages, opens_answer=True)

    def tokens(self, texts: Sequence[str]) -> list[list[int]]:
        """Return rendered texts as token ids; nothing is added."""
        if not texts:
            return []
        rows: list[list[int]] = self._tokenizer(list(texts), add_special_tokens=False)["input_ids"]
        return rows

    def encode(
        self, conversations: Sequence[Sequence[Message]], loss_on: LossOn
    ) -> list[Encoded | None]:
        """Tokenise conversations that end with an answer, and count their answers' tokens.

        An answer's tokens are all behind the prompt that asks for it, up to and with the one that
        ends its turn; what follows the last counted token is left out.

        Args:
            conversations: Each with at least one answer.
            loss_on: Answers that are counted.

        Returns:
            In their order; None where the answer at the end is blank.

        Raises:
            InputError: The template refuses a conversation, or writes one otherwise than it has
                asked for its answers.
        """
        return [
            self._encode(conversation, loss_on) if conversation[-1].content.strip() else None
            for conversation in conversations
        ]

    def _encode(self, messages: Sequence[Message], loss_on: LossOn) -> Encoded:
        found = self._encode_by_marks(messages, loss_on) if self._is_marked else None
        if found is None:
            text, borders = self._answers(messages, loss_on)
            found = self._encode_between(text, borders)
        if self._end.token is not None:
            return found
        # A template that has no end of its own: the model must learn to end all the same.
        tokens = [*found.tokens.tolist(), self._tokenizer.eos_token_id]
        return encoded(tokens, np.append(found.is_counted, True), len(tokens))

    def _encode_by_marks(self, messages: Sequence[Message], loss_on: LossOn) -> Encoded | None:
        """Return the sequence by the template's marks; None where a token is across a border."""
        rows: Any = self._tokenizer.apply_chat_template(
            _plain(messages),
            tokenize=True,
            return_dict=True,
            return_assistant_tokens_mask=True,
            date_string=CHAT_DATE,
        )
        tokens, is_counted = rows["input_ids"], np.array(rows["assistant_masks"], bool)
        [prompt] = self.tokens([self.prompt(messages[:-1])])
        if tokens[: len(prompt)] != prompt:
            return None
        if loss_on == "last_turn":
            is_counted[: len(prompt)] = False
        for index in np.flatnonzero(is_counted[:-1] & ~is_counted[1:]):
            # Without its end, an answer would be one that never ends.
            is_counted[index + 1] = tokens[index + 1] == self._end.token
        if not is_counted[len(prompt) :].any():
            return None
        return encoded(tokens, is_counted, int(np.flatnonzero(is_counted)[-1]) + 1)

    def _answers(self, messages: Sequence[Message], loss_on: LossOn) -> tuple[str, list[int]]:
        """Return the rendered conversation, and where its counted answers begin and end.

        Raises:
            InputError: A beginning is not the beginning of the whole.
        """
        whole = self._render(messages)
        answers = [index for index, one in enumerate(messages) if one.role == "assistant"]
        borders: list[int] = []
        for index in answers if loss_on == "all_turns" else answers[-1:]:
            prompt = self.prompt(messages[:index])
            through = whole
            if index < len(messages) - 1:
                through = self._render(messages[: index + 1])
            if not through.startswith(prompt):
                raise self._opens_otherwise(prompt, through)
            end = self._end_of(through)
            if whole[:end] != through[:end]:
                raise self._rewrites(through[:end], whole)
            borders += [len(prompt), end]
        return whole, borders

    def _encode_between(self, text: str, borders: Sequence[int]) -> Encoded:
        """Tokenise a text of which every second part, between two borders, is counted.

        The tokens of each part follow those of the beginning before it, as the model is given it. A
        token across a border (some tokenizers join letters there) would be neither; the parts from
        there on are tokenised alone.
        """
        beginnings = self.tokens([text[:border] for border in borders])
        tokens = beginnings[0]
        is_counted = [False] * len(tokens)
        for index, whole in enumerate(beginnings[1:]):
            if whole[: len(tokens)] == tokens:
                more = whole[len(tokens) :]
            else:
                [more] = self.tokens([text[borders[index] : borders[index + 1]]])
            tokens = [*tokens, *more]
            is_counted += [index % 2 == 0] * len(more)
        return encoded(tokens, np.array(is_counted), len(tokens))

    def _end_of(self, through: str) -> int:
        """Return where the counted part of a conversation's last answer ends."""
        if through.endswith(self._end.text):
            return len(through) - len(self._end.text) + self._end.num_counted
        return len(through.rstrip())

    def _find_end(self) -> _End:
        """Find out what the template writes behind an answer."""
        messages = [Message("user", _QUESTION), Message("assistant", _ANSWER)]
        whole = self._render(messages)
        _, answer, text = whole.rpartition(_ANSWER)
        if not answer:
            problem = (
                f"must have a chat template that writes answers, got chat and {self._name}, whose "
                f"template writes {whole[-60:]!r}"
            )
            raise InputError.of("task.prompt", problem)
        added = self._tokenizer.get_added_vocab()
        special = {*self._tokenizer.all_special_tokens, *added}
        found = [(text.find(one), -len(one), one) for one in special if one.strip() and one in text]
        if not found:
            return _End(text, 0, None)
        place, _, token = min(found)
        number: Any = self._tokenizer.convert_tokens_to_ids(token)
        return _End(text, place + len(token), number)

    def _render(self, messages: Sequence[Message], *, opens_answer: bool = False) -> str:
        try:
            text: Any = self._tokenizer.apply_chat_template(
                _plain(messages),
                tokenize=False,
                add_generation_prompt=opens_answer,
                date_string=CHAT_DATE,
            )
        # A template is a program: it raises what it likes at what it does not take.
        except Exception as error:
            problem = (
                f"must suit the conversations, got chat: the chat template of {self._name} refuses "
                f"one that begins with {messages[0].role}'s {messages[0].content[:40]!r}: {error}"
            )
            raise InputError.of("task.prompt", problem) from error
        rendered: str = text
        first = messages[0]
        if first.role == "system" and first.content.strip() not in rendered:
            problem = (
                f"must write the system's text, got chat: the chat template of {self._name} leaves "
                f"out {first.content[:40]!r}"
            )
            raise InputError.of("task.prompt", problem)
        return rendered

    def _opens_otherwise(self, prompt: str, through: str) -> InputError:
        place = _parting(prompt, through)
        problem = (
            f"must open an answer as it writes one, got chat: the chat template of {self._name} "
            f"opens it with {prompt[max(0, place - 20) :][-60:]!r} and then writes "
            f"{through[max(0, place - 20) : place + 40]!r}"
        )
        return InputError.of("task.prompt", problem)

    def _rewrites(self, through: str, whole: str) -> InputError:
        place = _parting(through, whole)
        problem = (
            f"must be last_turn, got all_turns: the chat template of {self._name} writes an "
            "answer otherwise once more turns follow, "
            f"{through[max(0, place - 20) : place + 20]!r} as "
            f"{whole[max(0, place - 20) : place + 20]!r}"
        )
        return InputError.of("task.loss_on", problem)


def _plain(messages: Sequence[Message]) -> list[dict[str, str]]:
    return [{"role": one.role, "content": one.content} for one in messages]


def _parting(one: str, other: str) -> int:
    """Return the number of characters that two texts begin with alike."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((index for index, (a, b) in pairs if a != b), min(len(one), len(other)))
