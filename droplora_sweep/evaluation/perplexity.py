"""Perplexity of a plain text, which shows what fine-tuning makes a model forget."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

from .context import model_context
from .generation import only_read

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

WINDOW_TOKENS = 512
"""Length of the windows in which text is read, each without the text before it; the model's context
where that is shorter."""

BATCH_WINDOWS = 4
"""Number of windows read together: with a large vocabulary, the logits of more take gigabytes."""


@dataclass(frozen=True)
class TextLoss:
    """Summed cross-entropy over predicted tokens; sums of parts of a text add up.

    Attributes:
        nats: Sum over the tokens.
        num_tokens: Number of predicted tokens: all but the first of each window.
    """

    nats: float
    num_tokens: int

    @property
    def perplexity(self) -> float:
        """``exp(nats / num_tokens)``; infinity where that is too large for a float."""
        assert self.num_tokens, "a perplexity needs a predicted token"
        mean = self.nats / self.num_tokens
        return math.exp(mean) if mean < 700 else math.inf


def text_loss(
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    text: str,
    *,
    batch_size: int = BATCH_WINDOWS,
    rank: int = 0,
    world_size: int = 1,
) -> TextLoss:
    """Return the loss of this rank's share of the text's windows.

    The shares of all ranks add up to the whole text, and no share depends on ``batch_size``. The
    model is read in eval mode and left in the mode it came in.

    Args:
        model: A causal language model, with or without an adapter.
        tokenizer: The model's.
        text: At least two tokens.
        batch_size: Windows that are read together.
        rank: This worker's place among ``world_size`` workers.
        world_size: Number of workers that share the text.

    Raises:
        ValueError: The text has fewer than two tokens.
    """
    tokens = tokenizer(text, add_special_tokens=False)["input_ids"]
    if len(tokens) < 2:
        raise ValueError(f"must have at least two tokens, got {len(tokens)}")
    width = min(WINDOW_TOKENS, model_context(model) or WINDOW_TOKENS)
    starts = range(0, len(tokens), width)
    windows = [window for start in starts if len(window := tokens[start : start + width]) > 1]
    share = windows[rank::world_size]
    nats = 0.0
    with only_read(model):
        for start in range(0, len(share), batch_size):
            nats += _loss(model, share[start : start + batch_size], tokenizer.eos_token_id)
    return TextLoss(nats, sum(len(window) - 1 for window in share))


def _loss(model: nn.Module, windows: list[list[int]], pad_id: int) -> float:
    device = next(model.parameters()).device
    longest = max(map(len, windows))
    input_BT = torch.full((len(windows), longest), pad_id)
    label_BT = torch.full((len(windows), longest), -100)
    for row, window in enumerate(windows):
        input_BT[row, : len(window)] = label_BT[row, : len(window)] = torch.tensor(window)
    # Padding lies behind every token that is predicted, and attention is causal.
    logits_BTV = model(input_ids=input_BT.to(device), use_cache=False).logits
    loss = nn.functional.cross_entropy(
        logits_BTV[:, :-1].float().flatten(0, 1),
        label_BT[:, 1:].flatten().to(device),
        ignore_index=-100,
        reduction="sum",
    )
    return float(loss.double())
