"""Answers from a closed set, chosen by the model's probabilities.

The response is one of a few texts, "the correct answer is answer1" to "answer5". Greedy decoding
among them takes, where their tokens part, the most likely token that one of them has there. All
that needs is the model's logits at those places: one pass over each prompt with what all texts
begin with, whose KV cache serves every option, and, only where options have more than one token
of their own, a pass of these few tokens per option.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from .generation import batches, pad_left

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn


@dataclass(frozen=True)
class OptionTokens:
    """The responses' tokens, split where they part.

    Attributes:
        prefix: Common beginning of all responses; may be empty.
        suffixes: Rest of each; none is empty, and none begins another.
    """

    prefix: tuple[int, ...]
    suffixes: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class OptionScores:
    """The options under the model, for one prompt.

    Attributes:
        chosen: Index of the option that greedy decoding among the options gives.
        log_probabilities: Of each option's suffix, given the prompt and the prefix, in nats:
            the sum over its tokens. The most likely option as a whole may not be the chosen one.
    """

    chosen: int
    log_probabilities: tuple[float, ...]


def option_tokens(responses: Sequence[Sequence[int]], end_id: int) -> OptionTokens:
    """Return responses split where they part.

    Where a response is the beginning of another, all end with the token that ends one, so that the
    model chooses between ending and going on.

    Args:
        responses: Token ids of each behind a prompt, as training joins the two; distinct, at least
            one. Any of a benchmark's prompts will do: all have the same end, and what comes before
            it does not change how a response is split.
        end_id: Token that ends a response.
    """
    sequences = [tuple(tokens) for tokens in responses]
    if any(one != other and other[: len(one)] == one for one in sequences for other in sequences):
        sequences = [(*sequence, end_id) for sequence in sequences]
    num_shared = min(map(len, sequences)) - 1
    shortest = sequences[0][:num_shared]
    while any(sequence[: len(shortest)] != shortest for sequence in sequences):
        shortest = shortest[:-1]
    return OptionTokens(
        prefix=shortest, suffixes=tuple(sequence[len(shortest) :] for sequence in sequences)
    )


def score_options(
    model: nn.Module,
    prompts: Sequence[Sequence[int]],
    options: OptionTokens,
    *,
    pad_id: int,
    batch_size: int,
    max_batch_tokens: int | None = None,
) -> list[OptionScores]:
    """Return each prompt's choice, in the order of the prompts.

    Args:
        model: A causal language model with a KV cache that can be cropped, or a wrapper of one.
        prompts: Token ids; none is empty.
        options: The responses to choose from.
        pad_id: Any token; it is masked.
        batch_size: The most prompts computed together.
        max_batch_tokens: The most tokens computed together, with padding.
    """
    rows = [(*prompt, *options.prefix) for prompt in prompts]
    scores: dict[int, OptionScores] = {}
    for batch in batches(
        [len(row) for row in rows],
        batch_size=batch_size,
        max_batch_tokens=max_batch_tokens,
        num_new_tokens=max(map(len, options.suffixes)) - 1,
    ):
        logs_OBS = _suffix_log_probabilities(
            model, [rows[index] for index in batch], options, pad_id
        )
        for row, index in enumerate(batch):
            scores[index] = _choose([logs_BS[row] for logs_BS in logs_OBS], options.suffixes)
    return [scores[index] for index in range(len(prompts))]


def score_with_references(
    model: nn.Module,
    prompts: Sequence[Sequence[int]],
    options: OptionTokens,
    references: Sequence[int],
    *,
    eos_id: int,
    batch_size: int,
    max_batch_tokens: int | None = None,
) -> list[tuple[OptionScores, float]]:
    """Return each prompt's choice, and its reference's log-probability, from one pass over both.

    The model reads the prompt with the reference, of which the place where options part is one.

    Args:
        model: A causal language model, or a wrapper of one.
        prompts: Token ids; none is empty.
        options: The responses to choose from; each has one token of its own.
        references: Index of each prompt's reference among the options.
        eos_id: Token that ends a reference; its log-probability counts too.
        batch_size: The most prompts computed together.
        max_batch_tokens: The most tokens computed together, with padding.
    """
    own = [suffix for (suffix,) in options.suffixes]
    rows = [
        (*prompt, *options.prefix, own[reference])
        for prompt, reference in zip(prompts, references, strict=True)
    ]
    found: dict[int, tuple[OptionScores, float]] = {}
    device = next(model.parameters()).device
    for batch in batches(
        [len(row) for row in rows],
        batch_size=batch_size,
        max_batch_tokens=max_batch_tokens,
        num_new_tokens=0,
    ):
        tokens_BT, mask_BT = pad_left([rows[index] for index in batch], eos_id, device)
        # From the prompt's last token on: before each token of the reference, and before EOS.
        num_kept = len(options.prefix) + 2
        logits_BKV = model(
            input_ids=tokens_BT,
            attention_mask=mask_BT,
            position_ids=(mask_BT.cumsum(1) - 1).clamp(min=0),
            use_cache=False,
            logits_to_keep=num_kept,
        ).logits[:, -num_kept:]
        # Row by row: in float32 they may be many.
        for row, index in enumerate(batch):
            logs_KV = logits_BKV[row].float().log_softmax(-1)
            said = [*options.prefix, own[references[index]], eos_id]
            total = float(logs_KV[range(num_kept), said].double().sum())
            logs_OS = [[one] for one in logs_KV[-2, own].tolist()]
            found[index] = _choose(logs_OS, options.suffixes), total
    return [found[index] for index in range(len(rows))]


def _suffix_log_probabilities(
    model: nn.Module, rows: Sequence[Sequence[int]], options: OptionTokens, pad_id: int
) -> list[list[list[float]]]:
    """Return, for each option and row, the log-probability of each of its suffix's tokens."""
    device = next(model.parameters()).device
    tokens_BT, mask_BT = pad_left(rows, pad_id, device)
    # Of a padded position nothing is used, so that its place does not matter.
    positions_BT = (mask_BT.cumsum(1) - 1).clamp(min=0)
    is_long = max(map(len, options.suffixes)) > 1
    shared = model(
        input_ids=tokens_BT,
        attention_mask=mask_BT,
        position_ids=positions_BT,
        use_cache=is_long,
        logits_to_keep=1,
    )
    first_B1V = shared.logits[:, -1:].float().log_softmax(-1)
    result = []
    for suffix in options.suffixes:
        logs_BSV = first_B1V
        if len(suffix) > 1:
            fed_BS = torch.tensor(suffix[:-1], device=device).repeat(len(rows), 1)
            cache = shared.past_key_values
            further = model(
                input_ids=fed_BS,
                attention_mask=torch.cat([mask_BT, torch.ones_like(fed_BS)], 1),
                position_ids=positions_BT[:, -1:] + torch.arange(1, len(suffix), device=device),
                past_key_values=cache,
                use_cache=True,
            )
            cache.crop(-fed_BS.shape[1])
            logs_BSV = torch.cat([first_B1V, further.logits.float().log_softmax(-1)], 1)
        suffix_BS1 = torch.tensor(suffix, device=device).repeat(len(rows), 1)[..., None]
        result.append(logs_BSV.gather(-1, suffix_BS1)[..., 0].tolist())
    return result


def _choose(
    logs_OS: Sequence[Sequence[float]], suffixes: Sequence[tuple[int, ...]]
) -> OptionScores:
    """Walk down the suffixes' tree, at each place to the most likely token that is there.

    Of equally likely tokens the one with the lower id is taken, as by ``argmax``.
    """
    remaining = list(range(len(suffixes)))
    depth = 0
    while len(remaining) > 1:
        tokens = {suffixes[option][depth]: logs_OS[option][depth] for option in reversed(remaining)}
        best = min(tokens, key=lambda token: (-tokens[token], token))
        remaining = [option for option in remaining if suffixes[option][depth] == best]
        depth += 1
    return OptionScores(remaining[0], tuple(sum(logs_S) for logs_S in logs_OS))
