"""Find the local folder that ``model.path`` means, or say in one line why there is none."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from droplora_sweep.errors import InputError
from droplora_sweep.spec.locations import is_hub_id, local_folder
from droplora_sweep.spec.trial import BUILTIN

if TYPE_CHECKING:
    from droplora_sweep.spec.trial import ModelSpec


_TOKENIZER = "tokenizer.json"
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


BUILTIN_FOLDER = Path(__file__).parent / "builtin"
INDEX_FILE = "model.safetensors.index.json"
ADAPTER_CONFIG = "adapter_config.json"
_ADAPTER_WEIGHTS = "adapter_model."
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "tokenizer_config.json")
_PICKLE_PATTERNS = ("*.bin", "*.pt", "*.pth", "*.ckpt")
# What a model needs and nothing that could run code: no *.py, no pickles.
_HUB_PATTERNS = ["*.json", "*.safetensors", "tokenizer.model", "*.jinja", "merges.txt", "vocab.txt"]
_COMMIT = re.compile(r"[0-9a-f]{40}")


class OutOfReachError(InputError):
    """A Hub model cannot be looked at from this machine now; nothing else is known to be wrong."""


def resolve_model(spec: ModelSpec) -> Path:
    """Find the model, downloading a Hub model's pinned revision if it is not here yet.

    Returns:
        Folder with config.json, safetensors weights and a tokenizer.

    Raises:
        OutOfReachError: The Hub cannot be reached, or asks for a login.
        InputError: The folder or Hub model is missing, unpinned or incomplete, or its weights are
            pickles.
    """
    if spec.path == BUILTIN:
        return _checked(BUILTIN_FOLDER)
    folder = local_folder(spec.path)
    if folder.is_dir():
        return _checked(folder)
    if folder.exists():
        raise _fault("path", f"must be a folder, got the file {spec.path}")
    if not is_hub_id(spec.path):
        raise _fault("path", f"must be builtin, a folder or a Hub id, got {spec.path}")
    if spec.revision is None:
        problem = f"no such folder; a Hub id also needs model.revision, got {spec.path}"
        raise _fault("path", problem)
    if not _COMMIT.fullmatch(spec.revision):
        problem = f"must be a commit of 40 hex digits, got {spec.revision}"
        raise _fault("revision", problem)
    return _checked(_download(spec.path, spec.revision))


def is_on_this_machine(spec: ModelSpec) -> bool:
    """Return True for the built-in model, a folder, and a Hub model that was downloaded before."""
    if spec.path == BUILTIN or not is_hub_id(spec.path):
        return True
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        snapshot_download(
            spec.path,
            revision=spec.revision,
            allow_patterns=_HUB_PATTERNS,
            local_files_only=True,
        )
    except LocalEntryNotFoundError:
        return False
    return True


def weight_files(folder: Path) -> list[Path]:
    """Return the safetensors files that hold the model's weights, in a stable order."""
    files = sorted(folder.glob("*.safetensors"))
    return [file for file in files if not is_of_adapter(file)]


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


def _checked(folder: Path) -> Path:
    if (folder / ADAPTER_CONFIG).is_file() and not (
        (folder / "config.json").is_file() and weight_files(folder)
    ):
        problem = f"must hold a base model, got {folder}, an adapter without its model"
        raise _fault("path", problem + _base_of_adapter(folder))
    if not (folder / "config.json").is_file():
        raise _fault("path", f"must hold config.json, got {folder}")
    if not weight_files(folder):
        pickles = sorted(p.name for pattern in _PICKLE_PATTERNS for p in folder.glob(pattern))
        found = f"; {pickles[0]} is a pickle, which can run code" if pickles else ""
        raise _fault("path", f"must hold *.safetensors weights, got {folder}{found}")
    if not any((folder / name).is_file() for name in _TOKENIZER_FILES):
        raise _fault("path", f"must hold a tokenizer (tokenizer.json), got {folder}")
    return folder


def _base_of_adapter(folder: Path) -> str:
    """Return a clause with the adapter's own base model; "" where its file has none."""
    try:
        base = json.loads((folder / ADAPTER_CONFIG).read_text("utf-8"))["base_model_name_or_path"]
    except (OSError, ValueError, KeyError, TypeError):
        return ""
    return f"; it was trained on {base}" if isinstance(base, str) and base else ""


def _download(hub_id: str, revision: str) -> Path:
    # Importing the Hub client takes half a second, which a local model should not cost.
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    wanted = f"{hub_id} at {revision[:12]}"
    try:
        return Path(snapshot_download(hub_id, revision=revision, allow_patterns=_HUB_PATTERNS))
    except GatedRepoError as error:
        problem = f"needs a login with access to {hub_id} at the Hub"
        raise OutOfReachError.of("model.path", problem) from error
    except RevisionNotFoundError as error:
        raise _fault("revision", f"the Hub has no such commit of {hub_id}: {revision}") from error
    except RepositoryNotFoundError as error:
        raise _fault("path", f"no such folder and no such Hub model, got {hub_id}") from error
    except (LocalEntryNotFoundError, OfflineModeIsEnabled) as error:
        problem = f"no such folder, and the Hub cannot be reached for {wanted}"
        raise OutOfReachError.of("model.path", problem) from error
    except HfHubHTTPError as error:
        reason = str(error).strip().splitlines()[0]
        raise _fault("path", f"the Hub refused {wanted}: {reason}") from error


def _fault(field: str, problem: str) -> InputError:
    return InputError.of(f"model.{field}", problem)
