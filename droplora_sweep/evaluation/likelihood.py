"""Likelihood of a benchmark's reference responses under the model: no decoding, and less noise.

The model reads a prompt with its reference, as training would have them, and the log-probabilities
of the reference's tokens and of EOS are added up: minus the training loss of that sequence, in
nats. Right or wrong is one bit of an answer; this says how nearly right each of them is.

What is computed is one forward pass over each sequence, of which the vocabulary is projected onto
at the references' places alone, and in passes of a limited number of logits.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from .sequences import IGNORED, collate

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from transformers import PreTrainedTokenizerBase

    from .encoding import Encoded

MAX_LOGITS = 2**26
"""Logits of one pass, unless one sequence alone has more: 256 MiB in float32, 128 in bfloat16."""
MAX_FLOATS = 2**24
"""Logits that are in float32 at once, whatever the model's precision: 64 MiB."""


@dataclass(frozen=True)
class Likelihood:
    """A reference under the model.

    Attributes:
        log_probability: Sum over its tokens and EOS, in nats.
        num_bytes: Its length in UTF-8, without EOS.
    """

    log_probability: float
    num_bytes: int


def reference_likelihoods(
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    sequences: Sequence[Encoded | None],
    references: Sequence[str],
    *,
    context: int | None,
    batch_size: int,
    max_batch_tokens: int | None = None,
) -> list[Likelihood | None]:
    """Return the likelihood of each reference behind its prompt.

    No likelihood depends on the batches, up to rounding. The model is in eval mode.

    Args:
        model: A causal language model, or a wrapper of one.
        tokenizer: The model's.
        sequences: Each prompt with its reference, and the end of a response; None for a blank one.
        references: The same references as texts.
        context: The most tokens that the model can read; None is no limit. A prompt that does not
            fit with its reference loses its beginning, but for BOS.
        batch_size: The most sequences computed together.
        max_batch_tokens: The most tokens computed together, with padding; None is no limit.

    Returns:
        In their order; None where a reference is blank, or leaves no room for a prompt.
    """
    fitting = {
        index: fitted
        for index, whole in enumerate(sequences)
        if whole is not None
        and (fitted := _fitted(whole, context, tokenizer.bos_token_id)) is not None
    }
    sums = log_probabilities(
        model,
        list(fitting.values()),
        pad_id=tokenizer.eos_token_id,
        batch_size=batch_size,
        max_batch_tokens=max_batch_tokens,
        num_words=len(tokenizer),
    )
    found = dict(zip(fitting, sums, strict=True))
    return [
        Likelihood(found[index], len(reference.encode())) if index in found else None
        for index, reference in enumerate(references)
    ]


def log_probabilities(
    model: nn.Module,
    sequences: Sequence[Encoded],
    *,
    pad_id: int,
    batch_size: int,
    max_batch_tokens: int | None,
    num_words: int,
    max_logits: int = MAX_LOGITS,
    max_floats: int = MAX_FLOATS,
) -> list[float]:
    """Return the log-probability of each sequence's response with EOS, given its prompt, in nats.

    See ``continuation_likelihoods``.
    """
    found = continuation_likelihoods(
        model,
        sequences,
        pad_id=pad_id,
        batch_size=batch_size,
        max_batch_tokens=max_batch_tokens,
        num_words=num_words,
        max_logits=max_logits,
        max_floats=max_floats,
    )
    return [log_probability for log_probability, _ in found]


def continuation_likelihoods(
    model: nn.Module,
    sequences: Sequence[Encoded],
    *,
    pad_id: int,
    batch_size: int,
    max_batch_tokens: int | None,
    num_words: int,
    context: int | None = None,
    max_logits: int = MAX_LOGITS,
    max_floats: int = MAX_FLOATS,
) -> list[tuple[float, bool]]:
    """Return each sequence's log-probability, in nats, and True where it is the greedy one.

    That is of the tokens behind its prompt, given what comes before each of them.

    Args:
        model: A causal language model, or a wrapper of one, in eval mode.
        sequences: Prompts with what follows them.
        pad_id: Any token; no response sees it, since it comes after all of them.
        batch_size: The most sequences computed together.
        max_batch_tokens: The most tokens computed together, with padding; None is no limit.
        num_words: Size of the vocabulary, by which the logits are limited.
        context: The most tokens that the model can read, where sequences may have one more: their
            last tokens are only predicted. None is no limit.
        max_logits: The most logits of one pass; a sequence that has more is alone in it.
        max_floats: The most logits that are in float32 at once.
    """
    device = next(model.parameters()).device
    found: dict[int, tuple[float, bool]] = {}
    for batch in _batches(sequences, batch_size, max_batch_tokens, max_logits // num_words):
        micro = collate([sequences[index] for index in batch], pad_id, device)
        # No attention mask: padding lies behind every response, and attention is causal.
        inputs_BT = micro.inputs[:, :context]
        output = model(input_ids=inputs_BT, logits_to_keep=micro.kept, use_cache=False)
        rows_N, columns_N = (micro.labels != IGNORED).nonzero(as_tuple=True)
        targets = Targets(rows_N, columns_N, micro.labels[rows_N, columns_N], rows_N)
        of_batch = sums(output.logits, targets, num_owners=len(batch), max_floats=max_floats)
        found.update(zip(batch, of_batch, strict=True))
    return [found[index] for index in range(len(sequences))]


def _fitted(sequence: Encoded, context: int | None, bos_id: int | None) -> Encoded | None:
    """Return the sequence without what the context cannot hold; None where no prompt is left."""
    num_excess = 0 if context is None else max(0, len(sequence.tokens) - context)
    if not num_excess:
        return sequence
    start = 1 if sequence.tokens[0] == bos_id else 0
    num_prompt_tokens = sequence.num_prompt_tokens - num_excess
    if num_prompt_tokens <= start:
        return None
    kept = np.delete(np.arange(len(sequence.tokens)), slice(start, start + num_excess))
    return replace(
        sequence,
        tokens=sequence.tokens[kept],
        num_prompt_tokens=num_prompt_tokens,
        counted=None if sequence.counted is None else sequence.counted[kept],
    )


def _batches(
    sequences: Sequence[Encoded],
    batch_size: int,
    max_batch_tokens: int | None,
    max_kept: int,
) -> Iterator[list[int]]:
    """Yield batches of indices; sequences of similar length share one, which saves padding.

    Args:
        sequences: Any.
        batch_size: The most sequences in a batch.
        max_batch_tokens: The most tokens in it, with padding.
        max_kept: The most positions in it whose logits are computed. A sequence beyond these limits
            is alone in its batch.
    """
    batch: list[int] = []
    first = 0
    for index in sorted(range(len(sequences)), key=lambda one: (len(sequences[one].tokens), one)):
        sequence = sequences[index]
        # In this order the sequence at hand is the longest of its batch.
        longest, num_rows = len(sequence.tokens), len(batch) + 1
        lowest = min(first, sequence.num_prompt_tokens) if batch else sequence.num_prompt_tokens
        fits = max_batch_tokens is None or num_rows * longest <= max_batch_tokens
        if batch and (
            num_rows > batch_size or not fits or num_rows * (longest - lowest) > max_kept
        ):
            yield batch
            batch, lowest = [], sequence.num_prompt_tokens
        batch.append(index)
        first = lowest
    if batch:
        yield batch


@dataclass(frozen=True, eq=False)
class Targets:
    """Tokens whose log-probabilities are added up.

    Attributes:
        rows: Row of each token's logits.
        columns: Their place in the row.
        labels: The token.
        owners: The sum that it enters.
    """

    rows: torch.Tensor
    columns: torch.Tensor
    labels: torch.Tensor
    owners: torch.Tensor


def sums(
    logits_BKV: torch.Tensor, targets: Targets, *, num_owners: int, max_floats: int
) -> list[tuple[float, bool]]:
    """Return each owner's sum of log-probabilities, in nats, and if all its tokens are argmax.

    Args:
        logits_BKV: Logits (rows, places, vocabulary), of any precision.
        targets: What to add up.
        num_owners: Number of sums.
        max_floats: The most logits that are in float32 at once.
    """
    device = logits_BKV.device
    sums_O = torch.zeros(num_owners, dtype=torch.float64, device=device)
    num_other_O = torch.zeros(num_owners, dtype=torch.long, device=device)
    for some in torch.arange(len(targets.rows)).split(max(1, max_floats // logits_BKV.shape[-1])):
        part = slice(int(some[0]), int(some[-1]) + 1)
        label_N, owner_N = targets.labels[part], targets.owners[part]
        logits_NV = logits_BKV[targets.rows[part], targets.columns[part]].float()
        loss_N = nn.functional.cross_entropy(logits_NV, label_N, reduction="none")
        sums_O.index_add_(0, owner_N, -loss_N.double())
        num_other_O.index_add_(0, owner_N, (logits_NV.argmax(-1) != label_N).long())
    return list(zip(sums_O.tolist(), (num_other_O == 0).tolist(), strict=True))
