"""Greedy decoding of batches of prompts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from transformers import DynamicCache

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence


def generate_greedily(
    model: Callable[..., object],
    prompts: Sequence[Sequence[int]],
    *,
    eos_ids: Collection[int],
    max_new_tokens: int,
    device: torch.device,
) -> list[list[int]]:
    """The most likely next token, again and again, for every prompt of one batch.

    The tokens are those of transformers' ``generate(do_sample=False)`` without its penalties and
    constraints. This loop exists because ``generate`` spends more time per token on its own
    bookkeeping than a small model on its forward pass. Padding goes to the left and is masked, so
    that a prompt's continuation does not depend on what else is in its batch, up to rounding:
    where two tokens' logits differ by less than that, either may be taken.

    Args:
        model: A causal language model, or a wrapper with the same ``forward``.
        prompts: Token ids of each prompt; none is empty.
        eos_ids: Tokens that end a response.
        max_new_tokens: The longest response, EOS included.
        device: Where the model is.

    Returns:
        Each response's token ids, the EOS that ended it included.
    """
    num_prompts, width = len(prompts), max(map(len, prompts))
    tokens_BT = torch.zeros((num_prompts, width), dtype=torch.long)
    mask_BT = torch.zeros((num_prompts, width + max_new_tokens), dtype=torch.long)
    for row, prompt in enumerate(prompts):
        tokens_BT[row, width - len(prompt) :] = torch.tensor(prompt)
        mask_BT[row, width - len(prompt) :] = 1
    tokens_BT, mask_BT = tokens_BT.to(device), mask_BT.to(device)
    positions_BT = (mask_BT.cumsum(-1) - 1).clamp(min=0)
    eos = torch.tensor(sorted(eos_ids), device=device)
    finished_B = torch.zeros(num_prompts, dtype=torch.bool, device=device)
    cache = DynamicCache()
    responses: list[torch.Tensor] = []
    start, end = 0, width
    for _ in range(max_new_tokens):
        output = model(
            input_ids=tokens_BT,
            attention_mask=mask_BT[:, :end],
            position_ids=positions_BT[:, start:end],
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        next_B = output.logits[:, -1].argmax(-1)  # type: ignore[attr-defined]
        responses.append(next_B)
        finished_B |= torch.isin(next_B, eos)
        if finished_B.all():
            break
        tokens_BT = next_B[:, None]
        start, end = end, end + 1
    return [_until_eos(row, eos_ids) for row in torch.stack(responses, 1).tolist()]


def _until_eos(tokens: list[int], eos_ids: Collection[int]) -> list[int]:
    """The tokens up to the first EOS, which is kept; rows that end early are decoded on."""
    length = next((index for index, token in enumerate(tokens) if token in eos_ids), None)
    return tokens if length is None else tokens[: length + 1]
