"""Prompts and responses as a tokenizer splits them; no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from transformers import PreTrainedTokenizerBase


_PROBE = "a"


def prompt_tokens(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[list[int]]:
    """Return the token ids that a model is given to continue.

    What a tokenizer puts before a text stays. What it appends, as some append EOS, is left out: it
    would stand between prompt and response. A text that begins with BOS itself has it once.

    Args:
        tokenizer: Any.
        texts: Prompts, or prompts with their responses.
    """
    if not texts:
        return []
    num_appended = _num_appended(tokenizer)
    rows: list[list[int]] = tokenizer(list(texts))["input_ids"]
    return [_with_one_bos(row[: len(row) - num_appended], tokenizer.bos_token_id) for row in rows]


def _num_appended(tokenizer: PreTrainedTokenizerBase) -> int:
    """Return the number of tokens that a tokenizer appends to a text."""
    plain: list[int] = tokenizer(_PROBE, add_special_tokens=False)["input_ids"]
    whole: list[int] = tokenizer(_PROBE)["input_ids"]
    for num_before in range(len(whole) - len(plain) + 1):
        if whole[num_before : num_before + len(plain)] == plain:
            return len(whole) - num_before - len(plain)
    return 0


def _with_one_bos(row: list[int], bos_id: int | None) -> list[int]:
    start = 0
    while bos_id is not None and row[start : start + 2] == [bos_id, bos_id]:
        start += 1
    return row[start:]


def response_tokens(
    tokenizer: PreTrainedTokenizerBase,
    pairs: Sequence[tuple[str, str]],
    prompts: Sequence[Sequence[int]],
) -> list[list[int]]:
    """Return the tokens of each response behind its prompt, without EOS.

    Args:
        tokenizer: Any.
        pairs: Prompt and response of each, as texts.
        prompts: The prompts' tokens, as ``prompt_tokens`` gives them.
    """
    wholes = prompt_tokens(tokenizer, [prompt + response for prompt, response in pairs])
    alone = tokenizer([response for _, response in pairs], add_special_tokens=False)["input_ids"]
    # A token across the border (some tokenizers join them) would hide the response's start.
    return [
        whole[len(prompt) :] if whole[: len(prompt)] == list(prompt) else response
        for prompt, whole, response in zip(prompts, wholes, alone, strict=True)
    ]
