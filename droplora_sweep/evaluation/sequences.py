"""Prompts and their responses as tokens, padded into batches.

Training and the likelihood of a reference (``likelihood.py``) read the same sequences: the prompt
as an evaluation has it, the response right behind it, and EOS.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from .tokens import prompt_tokens, response_tokens

if TYPE_CHECKING:
    from collections.abc import Sequence

    from transformers import PreTrainedTokenizerBase


PAD_MULTIPLE = 8
"""Sequences are padded to a multiple of this many tokens, which matrix units like."""
IGNORED = -100
"""Label of a token that has no loss: prompt and padding."""
_TOKENIZER_BATCH = 1000


@dataclass(frozen=True, eq=False)
class Encoded:
    """Prompt with its response.

    Attributes:
        tokens: Prompt, response and EOS (int32).
        num_prompt_tokens: The loss is on the tokens after them.
    """

    tokens: np.ndarray
    num_prompt_tokens: int

    @property
    def num_response_tokens(self) -> int:
        """Tokens the loss is on, EOS included; at least one."""
        return len(self.tokens) - self.num_prompt_tokens


def encode_pairs(
    tokenizer: PreTrainedTokenizerBase, pairs: Sequence[tuple[str, str]]
) -> list[Encoded]:
    """Tokenise (prompt, response) pairs and append EOS.

    The prompt's tokens are exactly those the model is given to continue in an evaluation.

    Args:
        tokenizer: Has an EOS token.
        pairs: Texts; the response follows the prompt without a separator.
    """
    sequences = []
    for start in range(0, len(pairs), _TOKENIZER_BATCH):
        some = pairs[start : start + _TOKENIZER_BATCH]
        prompts = prompt_tokens(tokenizer, [prompt for prompt, _ in some])
        responses = response_tokens(tokenizer, some, prompts)
        sequences += [
            Encoded(np.array([*prompt, *response, tokenizer.eos_token_id], np.int32), len(prompt))
            for prompt, response in zip(prompts, responses, strict=True)
        ]
    return sequences


@dataclass(frozen=True, eq=False)
class MicroBatch:
    """Padded sequences and what the loss needs.

    Attributes:
        inputs: Token ids (batch, tokens), padded on the right.
        kept: Positions whose logits are needed (kept): all from the first response token's
            predecessor on; the vocabulary is not projected onto for the others.
        labels: Token that each kept position predicts (batch, kept), or `IGNORED`.
    """

    inputs: torch.Tensor
    kept: torch.Tensor
    labels: torch.Tensor


def collate(
    sequences: Sequence[Encoded], pad_token_id: int, device: torch.device, *, counted: bool = True
) -> MicroBatch:
    """Pad sequences to one length.

    Args:
        sequences: At least one.
        pad_token_id: Any token; no counted position sees it, since it comes after all of them.
        device: Device of the tensors.
        counted: False gives labels without a loss, for a rank that has nothing to train on but
            must take part in the collectives of a backward pass.
    """
    longest = max(len(sequence.tokens) for sequence in sequences)
    num_tokens = -(-longest // PAD_MULTIPLE) * PAD_MULTIPLE
    inputs = np.full((len(sequences), num_tokens), pad_token_id, dtype=np.int64)
    labels = np.full_like(inputs, IGNORED)
    for row, sequence in enumerate(sequences):
        end = len(sequence.tokens)
        inputs[row, :end] = sequence.tokens
        if counted:
            labels[row, sequence.num_prompt_tokens : end] = sequence.tokens[
                sequence.num_prompt_tokens :
            ]
    first = min(sequence.num_prompt_tokens for sequence in sequences)
    return MicroBatch(
        inputs=torch.from_numpy(inputs).to(device),
        kept=torch.arange(first - 1, longest - 1, device=device),
        labels=torch.from_numpy(labels[:, first:longest]).to(device),
    )
