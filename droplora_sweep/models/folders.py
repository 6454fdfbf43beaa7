"""Files of a model's folder: weights, tokenizer, chat template, adapters in it; no torch."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from droplora_sweep.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path


INDEX_FILE = "model.safetensors.index.json"
ADAPTER_CONFIG = "adapter_config.json"
_ADAPTER_WEIGHTS = "adapter_model."
_CONSOLIDATED = "consolidated"
"""Beginning of the files in which Mistral's publisher stores the same weights in its own form."""
_TOKENIZER = "tokenizer.json"
_TOKENIZER_FILES = (_TOKENIZER, "tokenizer.model", "tokenizer_config.json")
_PICKLE_PATTERNS = ("*.bin", "*.pt", "*.pth", "*.ckpt")
_NEEDED = ("eos_token", "bos_token")
"""Special tokens that sequences may hold; a pad token is masked."""


def tokens_beyond(folder: Path, num_embedded: int) -> tuple[str, ...]:
    """Return the added tokens that the model has no embedding of; texts must not contain them.

    Args:
        folder: The model's; without tokenizer.json no such token is known.
        num_embedded: Number of token ids that have an embedding.

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
            raise InputError.of("model.path", problem)
    return tuple(token for token, number in added.items() if number >= num_embedded)


def has_chat_template(folder: Path) -> bool:
    """Return True where the folder's tokenizer has a chat template."""
    config = _read(folder / "tokenizer_config.json") or {}
    return (folder / "chat_template.jinja").is_file() or bool(config.get("chat_template"))


def special_token(folder: Path, name: str) -> str | None:
    """Return a special token, e.g. ``eos_token``, as the folder's files name it.

    None where they do not; the tokenizer's class may still have one of its own.
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


def weight_files(folder: Path) -> list[Path]:
    """Return the safetensors files that hold the model's weights, in a stable order."""
    files = sorted(folder.glob("*.safetensors"))
    return [
        file
        for file in files
        if not is_of_adapter(file) and not file.name.startswith(_CONSOLIDATED)
    ]


def shards(folder: Path) -> list[str] | None:
    """Return the names of the weight files that the folder's index has; None without an index.

    [] where the index names none.
    """
    if not (folder / INDEX_FILE).is_file():
        return None
    weight_map = (_read(folder / INDEX_FILE) or {}).get("weight_map")
    return sorted(set(map(str, weight_map.values()))) if isinstance(weight_map, dict) else []


def has_weights(folder: Path) -> bool:
    """Return True where every weight file is in the folder."""
    names = shards(folder)
    if names is None:
        return bool(weight_files(folder))
    return bool(names) and all((folder / name).is_file() for name in names)


def has_description(folder: Path, *, with_code: bool) -> bool:
    """Return True where configuration and tokenizer are in the folder; with the code it names."""
    config = _read(folder / "config.json")
    if config is None or not any((folder / name).is_file() for name in _TOKENIZER_FILES):
        return False
    named = config.get("auto_map") if with_code else None
    places = map(str, named.values() if isinstance(named, dict) else ())
    # A place with `--` is in another repository.
    modules = {place.partition(".")[0] for place in places if "--" not in place}
    return all((folder / f"{module}.py").is_file() for module in modules)


def is_of_adapter(file: Path) -> bool:
    """Return True for the files of a PEFT adapter that lies in a model's folder."""
    return file.name == ADAPTER_CONFIG or file.name.startswith(_ADAPTER_WEIGHTS)


def adapter_note(folder: Path) -> str | None:
    """Return a note on the adapter that lies in the base model's folder, if one does."""
    if not (folder / ADAPTER_CONFIG).is_file():
        return None
    return (
        f"model.path: {folder} also holds an adapter ({ADAPTER_CONFIG}); the base model is loaded "
        "without it"
    )


def require_description(folder: Path) -> Path:
    """Return the folder of a base model with its configuration and tokenizer.

    Raises:
        InputError: It holds an adapter alone, or lacks one of them.
    """
    if (folder / ADAPTER_CONFIG).is_file() and not (folder / "config.json").is_file():
        raise _adapter_alone(folder)
    if not (folder / "config.json").is_file():
        raise _fault(f"must hold config.json, got {folder}")
    if not any((folder / name).is_file() for name in _TOKENIZER_FILES):
        raise _fault(f"must hold a tokenizer (tokenizer.json), got {folder}")
    return folder


def require_model(folder: Path) -> Path:
    """Return the folder of a base model with weights, configuration and tokenizer.

    Raises:
        InputError: It holds an adapter alone, lacks one of them, or its weights are pickles.
    """
    if (folder / ADAPTER_CONFIG).is_file() and not weight_files(folder):
        raise _adapter_alone(folder)
    if (folder / "config.json").is_file() and not weight_files(folder):
        pickles = sorted(p.name for pattern in _PICKLE_PATTERNS for p in folder.glob(pattern))
        found = f"; {pickles[0]} is a pickle, which can run code" if pickles else ""
        raise _fault(f"must hold *.safetensors weights, got {folder}{found}")
    return require_description(folder)


def _adapter_alone(folder: Path) -> InputError:
    problem = f"must hold a base model, got {folder}, an adapter without its model"
    return _fault(problem + _base_of_adapter(folder))


def _base_of_adapter(folder: Path) -> str:
    """Return a clause with the adapter's own base model; "" where its file has none."""
    try:
        base = json.loads((folder / ADAPTER_CONFIG).read_text("utf-8"))["base_model_name_or_path"]
    except (OSError, ValueError, KeyError, TypeError):
        return ""
    return f"; it was trained on {base}" if isinstance(base, str) and base else ""


def _fault(problem: str) -> InputError:
    return InputError.of("model.path", problem)
