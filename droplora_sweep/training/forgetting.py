"""What a trial makes the model forget: the perplexity of held-out text, before and after."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist

from droplora_sweep.evaluation.held_out import forgetting_metrics, read_held_out_text
from droplora_sweep.evaluation.perplexity import TextLoss, text_loss

from .device import sum_over_ranks

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class HeldOut:
    """A text, and what the untuned model makes of it.

    Attributes:
        path: Of its file.
        text: What it holds.
        before: The perplexity under the base model, of all ranks' windows.
    """

    path: str
    text: str = field(repr=False)
    before: float


def read_before(path: str, base: nn.Module, tokenizer: PreTrainedTokenizerBase) -> HeldOut:
    """Read a text, and the perplexity the untuned base model gives it; a collective.

    Raises:
        InputError: The text cannot be read.
    """
    text = read_held_out_text(path).text
    return HeldOut(path, text, _loss(base, tokenizer, text).perplexity)


def forgetting(
    held_out: HeldOut, model: nn.Module, tokenizer: PreTrainedTokenizerBase
) -> dict[str, float]:
    """See ``forgetting_metrics``; a collective, which gives them on every rank."""
    return forgetting_metrics(held_out.before, _loss(model, tokenizer, held_out.text).perplexity)


def _loss(model: nn.Module, tokenizer: PreTrainedTokenizerBase, text: str) -> TextLoss:
    """The loss of the whole text, of which each rank reads its share."""
    share = text_loss(
        model, tokenizer, text, rank=dist.get_rank(), world_size=dist.get_world_size()
    )
    device = next(model.parameters()).device
    nats = sum_over_ranks(torch.tensor(share.nats, dtype=torch.float64, device=device))
    return TextLoss(nats, round(sum_over_ranks(torch.tensor(share.num_tokens, device=device))))
