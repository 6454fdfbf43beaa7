"""Trains the tokenizer and the model from a seed and writes them with their model card."""

from __future__ import annotations

import itertools
import logging
import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from .corpus import documents
from .tokenizer import CONTEXT_TOKENS, EOS_TOKEN, train_tokenizer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from transformers import PreTrainedTokenizerFast

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PretrainingSettings:
    """One pretraining run; the same settings on the same machine give the same bytes.

    Attributes:
        seed: Gives the corpus and the initial weights.
        steps: Optimiser steps.
        rows: Sequences of a step.
        row_tokens: Tokens of a sequence; documents are packed, each ended by EOS.
        peak_learning_rate: Reached after the warmup; falls to a tenth along a cosine.
        warmup_steps: Steps of linear warmup.
        num_threads: Torch's threads; another number changes the last bits of sums.
        tokenizer_documents: Documents the tokenizer is trained on.
    """

    seed: int
    steps: int = 6000
    rows: int = 8
    row_tokens: int = 128
    peak_learning_rate: float = 2.5e-3
    warmup_steps: int = 100
    num_threads: int = 2
    tokenizer_documents: int = 20_000

    def learning_rate(self, step: int) -> float:
        """The learning rate of a step, counted from 0."""
        if step < self.warmup_steps:
            return self.peak_learning_rate * (step + 1) / self.warmup_steps
        progress = (step - self.warmup_steps) / max(1, self.steps - self.warmup_steps)
        return self.peak_learning_rate * (0.1 + 0.9 * (1 + math.cos(math.pi * progress)) / 2)


@dataclass(frozen=True)
class PretrainingResult:
    """What a run made, and what its model card reports."""

    model: LlamaForCausalLM
    tokenizer: PreTrainedTokenizerFast
    final_loss: float
    wall_time_s: float


def model_config(tokenizer: PreTrainedTokenizerFast) -> LlamaConfig:
    """The architecture: four layers, so that a fact can be looked up and then compared."""
    return LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=160,
        intermediate_size=448,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=CONTEXT_TOKENS,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def packed_rows(
    texts: Iterator[str], tokenizer: PreTrainedTokenizerFast, row_tokens: int
) -> Iterator[list[int]]:
    """Rows of whole documents, each ended by EOS; the last one of a row may be cut.

    A row begins with a document, as a prompt does in fine-tuning.
    """
    row: list[int] = []
    while True:
        batch = list(itertools.islice(texts, 256))
        for tokens in tokenizer([text + EOS_TOKEN for text in batch])["input_ids"]:
            row += tokens
            if len(row) >= row_tokens:
                yield row[:row_tokens]
                row = []


def pretrain(settings: PretrainingSettings) -> PretrainingResult:
    """Runs next-token training with AdamW; the loss is logged every hundred steps."""
    started = time.monotonic()
    torch.manual_seed(settings.seed)
    torch.set_num_threads(settings.num_threads)
    tokenizer = train_tokenizer(
        itertools.islice(documents(settings.seed), settings.tokenizer_documents)
    )
    model = LlamaForCausalLM(model_config(tokenizer))
    decayed = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in model.parameters() if parameter.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}],
        betas=(0.9, 0.98),
        fused=True,
    )
    rows = packed_rows(documents(settings.seed), tokenizer, settings.row_tokens)
    model.train()
    smoothed_loss = math.nan
    for step in range(settings.steps):
        tokens_BT = torch.tensor(list(itertools.islice(rows, settings.rows)))
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate(step)
        loss = model(input_ids=tokens_BT, labels=tokens_BT).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        smoothed_loss = loss.item() if step == 0 else 0.98 * smoothed_loss + 0.02 * loss.item()
        if step % 100 == 99:
            elapsed_s = time.monotonic() - started
            logger.info("step %d: loss %.4f, %.0f s", step + 1, smoothed_loss, elapsed_s)
    model.eval()
    return PretrainingResult(model, tokenizer, smoothed_loss, time.monotonic() - started)
