"""Greedy decoding of batches of prompts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from transformers import GenerationConfig

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from torch import nn


def generate_greedily(
    model: nn.Module,
    prompts: Sequence[Sequence[int]],
    *,
    eos_ids: Collection[int],
    max_new_tokens: int,
) -> list[list[int]]:
    """The most likely next token, again and again, for every prompt of one batch.

    Padding goes to the left and is masked, so that a prompt's continuation does not depend on what
    else is in its batch, up to rounding: where two tokens' logits differ by less than that, either
    may be taken. The batch ends early when all its prompts have met an EOS.

    Args:
        model: A causal language model, or a wrapper that passes ``generate`` on to it.
        prompts: Token ids of each prompt; none is empty.
        eos_ids: Tokens that end a response; at least one.
        max_new_tokens: The longest response, EOS included.

    Returns:
        Each response's token ids, the EOS that ended it included.
    """
    num_prompts, width = len(prompts), max(map(len, prompts))
    pad_id = min(eos_ids)
    tokens_BT = torch.full((num_prompts, width), pad_id)
    mask_BT = torch.zeros((num_prompts, width), dtype=torch.long)
    for row, prompt in enumerate(prompts):
        tokens_BT[row, width - len(prompt) :] = torch.tensor(prompt)
        mask_BT[row, width - len(prompt) :] = 1
    device = next(model.parameters()).device
    generated_BT = model.generate(  # type: ignore[operator]
        input_ids=tokens_BT.to(device),
        attention_mask=mask_BT.to(device),
        generation_config=_greedy_config(eos_ids, pad_id, max_new_tokens),
    )[:, width:]
    return [_until_eos(row, eos_ids) for row in generated_BT.tolist()]


def _greedy_config(eos_ids: Collection[int], pad_id: int, max_new_tokens: int) -> GenerationConfig:
    """Plain greedy search; what is left unset here, ``generate`` takes from the model's files."""
    return GenerationConfig(
        max_new_tokens=max_new_tokens,
        eos_token_id=sorted(eos_ids),
        pad_token_id=pad_id,
        do_sample=False,
        num_beams=1,
        temperature=1.0,
        top_k=50,
        top_p=1.0,
        repetition_penalty=1.0,
        no_repeat_ngram_size=0,
        use_cache=True,
    )


def _until_eos(tokens: list[int], eos_ids: Collection[int]) -> list[int]:
    """The tokens up to the first EOS, which is kept; rows that end early are padded behind it."""
    length = next((index for index, token in enumerate(tokens) if token in eos_ids), None)
    return tokens if length is None else tokens[: length + 1]
