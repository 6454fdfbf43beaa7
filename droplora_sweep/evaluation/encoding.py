"""Sequences that are trained on: tokens, and those of them that the loss counts; no torch.

Training and the likelihood of a reference (``likelihood.py``) read the same sequences: the prompt
as an evaluation has it, the response right behind it, and the token that ends it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .tokens import prompt_tokens, response_tokens

if TYPE_CHECKING:
    from collections.abc import Sequence

    from transformers import PreTrainedTokenizerBase

_TOKENIZER_BATCH = 1000


@dataclass(frozen=True, eq=False)
class Encoded:
    """Prompt with its response, or a conversation with its answers.

    Attributes:
        tokens: Prompt, response and the token that ends it, or turn after turn (int32).
        num_prompt_tokens: Tokens before the first that the loss is on; at least one.
        counted: True for each of ``tokens`` that the loss is on; None for all behind the prompt.
    """

    tokens: np.ndarray
    num_prompt_tokens: int
    counted: np.ndarray | None = None

    @property
    def num_response_tokens(self) -> int:
        """Tokens the loss is on, the ends of responses included; at least one."""
        if self.counted is None:
            return len(self.tokens) - self.num_prompt_tokens
        return int(self.counted.sum())

    @property
    def is_counted(self) -> np.ndarray:
        """True for each of ``tokens`` that the loss is on."""
        if self.counted is None:
            return np.arange(len(self.tokens)) >= self.num_prompt_tokens
        return self.counted

    @property
    def num_needed_tokens(self) -> int:
        """Tokens up to the end of the first counted answer: with fewer, none can be trained on."""
        ends = np.flatnonzero(self.is_counted & ~np.append(self.is_counted[1:], False)) + 1
        return int(ends[0])

    def up_to(self, max_tokens: int) -> Encoded | None:
        """Return the turns that fit, with whole answers; None where the first does not."""
        if len(self.tokens) <= max_tokens:
            return self
        ends = np.flatnonzero(self.is_counted & ~np.append(self.is_counted[1:], False)) + 1
        fitting = ends[ends <= max_tokens]
        return encoded(self.tokens, self.is_counted, int(fitting[-1])) if len(fitting) else None


def encoded(tokens: Sequence[int] | np.ndarray, is_counted: np.ndarray, end: int) -> Encoded:
    """Return the first ``end`` tokens as a sequence, of which at least one is counted."""
    counted = np.asarray(is_counted[:end], bool)
    first = int(counted.argmax())
    return Encoded(
        np.array(tokens[:end], np.int32), first, None if counted[first:].all() else counted
    )


def encode_pairs(
    tokenizer: PreTrainedTokenizerBase, pairs: Sequence[tuple[str, str]]
) -> list[Encoded | None]:
    """Tokenise (prompt, response) pairs and append EOS.

    The prompt's tokens are exactly those the model is given to continue in an evaluation.

    Args:
        tokenizer: Has an EOS token.
        pairs: Texts; the response follows the prompt without a separator.

    Returns:
        In the order of the pairs; None where a response is blank, which would teach nothing but to
        end at once.
    """
    sequences: list[Encoded | None] = []
    for start in range(0, len(pairs), _TOKENIZER_BATCH):
        some = pairs[start : start + _TOKENIZER_BATCH]
        prompts = prompt_tokens(tokenizer, [prompt for prompt, _ in some])
        responses = response_tokens(tokenizer, some, prompts)
        sequences += [
            Encoded(np.array([*prompt, *response, tokenizer.eos_token_id], np.int32), len(prompt))
            if text.strip()
            else None
            for (_, text), prompt, response in zip(some, prompts, responses, strict=True)
        ]
    return sequences
