"""Sequences of tokens padded into batches, for training and likelihoods."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from droplora_sweep.spec.trial import PAD_MULTIPLE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .encoding import Encoded


IGNORED = -100
"""Label of a token that has no loss: prompt and padding."""


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
            labels[row, :end][sequence.is_counted] = sequence.tokens[sequence.is_counted]
    first = min(sequence.num_prompt_tokens for sequence in sequences)
    return MicroBatch(
        inputs=torch.from_numpy(inputs).to(device),
        kept=torch.arange(first - 1, longest - 1, device=device),
        labels=torch.from_numpy(labels[:, first:longest]).to(device),
    )
