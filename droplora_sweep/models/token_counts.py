"""Tokens of texts as a model's ``tokenizer.json`` counts them; neither torch nor transformers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokenizers import Tokenizer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

TOKENIZER_FILE = "tokenizer.json"
_BATCH = 256
_PROBE = "a"


def count_tokens(folder: Path, texts: Sequence[str]) -> Iterator[int] | None:
    """Return the number of tokens of each text, EOS and what the tokenizer puts before it included.

    Args:
        folder: The model's.
        texts: Prompts with their responses.

    Returns:
        None where the folder has no ``tokenizer.json`` that can be read: its class alone knows.
    """
    file = folder / TOKENIZER_FILE
    if not file.is_file():
        return None
    try:
        tokenizer = Tokenizer.from_file(str(file))
    # Blind on purpose: the library raises a bare Exception for what it cannot read.
    except Exception:  # noqa: BLE001
        return None
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return _counts(tokenizer, texts)


def _counts(tokenizer: Tokenizer, texts: Sequence[str]) -> Iterator[int]:
    num_more = _num_before(tokenizer) + 1
    for start in range(0, len(texts), _BATCH):
        some = list(texts[start : start + _BATCH])
        for one in tokenizer.encode_batch(some, add_special_tokens=False):
            yield len(one.ids) + num_more


def _num_before(tokenizer: Tokenizer) -> int:
    """Return the number of tokens that a tokenizer puts before a text, as BOS."""
    plain: list[int] = tokenizer.encode(_PROBE, add_special_tokens=False).ids
    whole: list[int] = tokenizer.encode(_PROBE).ids
    for number in range(len(whole) - len(plain) + 1):
        if whole[number : number + len(plain)] == plain:
            return number
    return 0
