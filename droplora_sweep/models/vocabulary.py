"""The tokens of a model's folder against the tokens it has embeddings of; no torch."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from droplora_sweep.errors import Fault, InputError

if TYPE_CHECKING:
    from pathlib import Path

_TOKENIZER = "tokenizer.json"
_NEEDED = ("eos_token", "bos_token")
"""Special tokens that sequences may hold; a pad token is never used."""


def tokens_beyond(folder: Path, num_embedded: int) -> tuple[str, ...]:
    """Added tokens that the model has no embedding of: texts must not contain them.

    Args:
        folder: Of the model; one without tokenizer.json has none that are known here.
        num_embedded: Token ids that the model has embeddings of.

    Raises:
        InputError: A token that every sequence has, or one of the tokenizer's own vocabulary, is
            beyond the embeddings.
    """
    content = _read(folder / _TOKENIZER)
    if content is None:
        return ()
    own = _own_tokens(content)
    added = {str(one["content"]): int(one["id"]) for one in content.get("added_tokens") or ()}
    needed = {token: name for name in _NEEDED if (token := special_token(folder, name))}
    for token, number in {**own, **added}.items():
        if number >= num_embedded and (token not in added or token in needed):
            what = f"the {needed[token]} " if token in needed else ""
            problem = (
                f"must have an embedding of every token, got {folder}, whose tokenizer gives "
                f"{what}{token!r} the number {number:,} where the embedding has {num_embedded:,} "
                "rows; resize the model's embedding, or use the tokenizer it was trained with"
            )
            raise InputError([Fault("", "model.path", problem)])
    return tuple(token for token, number in added.items() if number >= num_embedded)


def special_token(folder: Path, name: str) -> str | None:
    """A special token as the folder's files name it, e.g. of ``eos_token``; None where they don't.

    A tokenizer's class may still have one of its own.
    """
    for file in ("tokenizer_config.json", "special_tokens_map.json"):
        token = (_read(folder / file) or {}).get(name)
        if isinstance(token, dict):
            token = token.get("content")
        if isinstance(token, str):
            return token
    return None


def _own_tokens(content: dict[str, Any]) -> dict[str, int]:
    vocabulary = (content.get("model") or {}).get("vocab")
    if isinstance(vocabulary, dict):
        return {str(token): int(number) for token, number in vocabulary.items()}
    if isinstance(vocabulary, list):
        # A unigram model has a list of tokens with their scores.
        return {str(entry[0]): number for number, entry in enumerate(vocabulary)}
    return {}


def _read(file: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None
