"""Train the built-in model's tokenizer and the model, from a seed."""

from __future__ import annotations

import itertools
import logging
import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from droplora_sweep.tasks.task import TEMPLATE

from .corpus import documents

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .corpus import Document


PAD_TOKEN: Final = "<pad>"
EOS_TOKEN: Final = "</s>"
VOCABULARY_SIZE: Final = 1280
CONTEXT_TOKENS: Final = 256

_BEFORE_INSTRUCTION, _AFTER_INSTRUCTION = TEMPLATE.split("{instruction}")
PHRASES: Final = (
    _BEFORE_INSTRUCTION,
    _AFTER_INSTRUCTION,
    " Let's think step by step.",
    "Please choose the correct answer to the question:",
    "Answer format: answer1/answer2/answer3/answer4",
)
"""Text that every prompt of a benchmark repeats; one token each keeps sequences short."""

_PIECES: Final = r" ?[A-Za-z]+[0-9]:| ?[A-Za-z]+[0-9]?| ?[0-9]{1,2}|\n[\n ]*| ?[^\sA-Za-z0-9]+|\s"
"""A word (also ``answer2``, ``Answer2:``), a number below 100, a line break with indent, signs."""


def train_tokenizer(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """Learn the merges from ``texts``; any text can be encoded, since all bytes are tokens.

    No token is added before or after a text; callers append ``EOS_TOKEN`` to responses.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PIECES), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_SIZE - len(PHRASES),
        special_tokens=[PAD_TOKEN, EOS_TOKEN],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_tokens([AddedToken(phrase, normalized=False) for phrase in PHRASES])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD_TOKEN,
        eos_token=EOS_TOKEN,
        model_max_length=CONTEXT_TOKENS,
        clean_up_tokenization_spaces=False,
    )


IGNORED_LABEL: Final = -100

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
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
    steps: int = 4000
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


@dataclass(frozen=True, kw_only=True)
class PretrainingResult:
    """Result of a run, and figures for its model card."""

    model: LlamaForCausalLM
    tokenizer: PreTrainedTokenizerFast
    final_loss: float
    wall_time_s: float


def model_config(tokenizer: PreTrainedTokenizerFast) -> LlamaConfig:
    """The architecture: four layers, so that a fact can be looked up and then compared."""
    return LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=CONTEXT_TOKENS,
        tie_word_embeddings=True,
        initializer_range=0.08,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def packed_rows(
    texts: Iterator[Document], tokenizer: PreTrainedTokenizerFast, row_tokens: int
) -> Iterator[tuple[list[int], list[int]]]:
    """Rows of tokens with their labels: whole documents, each ended by EOS.

    The last document of a row may be cut; a row begins with a document, as a prompt does in
    fine-tuning.
    """
    tokens: list[int] = []
    labels: list[int] = []
    for document in texts:
        for text, is_learned in (*document, (EOS_TOKEN, True)):
            segment = tokenizer.backend_tokenizer.encode(text).ids
            tokens += segment
            labels += segment if is_learned else [IGNORED_LABEL] * len(segment)
        if len(tokens) >= row_tokens:
            yield tokens[:row_tokens], labels[:row_tokens]
            tokens, labels = [], []


def pretrain(settings: PretrainingSettings) -> PretrainingResult:
    """Run next-token training with AdamW; the loss is logged every hundred steps."""
    started = time.monotonic()
    torch.manual_seed(settings.seed)
    torch.set_num_threads(settings.num_threads)
    tokenizer = train_tokenizer(
        "".join(text for text, _ in document)
        for document in itertools.islice(documents(settings.seed), settings.tokenizer_documents)
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
        batch = list(itertools.islice(rows, settings.rows))
        tokens_BT = torch.tensor([tokens for tokens, _ in batch])
        labels_BT = torch.tensor([labels for _, labels in batch])
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate(step)
        loss = _loss(model, tokens_BT, labels_BT)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        smoothed_loss = loss.item() if step == 0 else 0.98 * smoothed_loss + 0.02 * loss.item()
        if step % 100 == 99:
            elapsed_s = time.monotonic() - started
            logger.info("step %d: loss %.4f, %.0f s", step + 1, smoothed_loss, elapsed_s)
    model.train(mode=False)
    return PretrainingResult(
        model=model,
        tokenizer=tokenizer,
        final_loss=smoothed_loss,
        wall_time_s=time.monotonic() - started,
    )


def _loss(
    model: LlamaForCausalLM, tokens_BT: torch.Tensor, labels_BT: torch.Tensor
) -> torch.Tensor:
    """Cross-entropy of the learned tokens only; the others never reach the vocabulary's matrix."""
    hidden_BTD = model.model(input_ids=tokens_BT).last_hidden_state[:, :-1]
    next_BT = labels_BT[:, 1:]
    learned_BT = next_BT != IGNORED_LABEL
    logits_NV = model.lm_head(hidden_BTD[learned_BT])
    return torch.nn.functional.cross_entropy(logits_NV, next_BT[learned_BT])
