"""Training sequences that the workers and trials of a node share: tokenised once, mapped by all.

They are files in a cache, named by the digest of all that the tokens follow from: the examples,
the prompts, the tokenizer and the limit. Memory that is mapped belongs to the file, so that any
number of processes has it once.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import logging
import os
import shutil
import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import tokenizers

from droplora_sweep import __version__
from droplora_sweep.evaluation.encoding import Encoded
from droplora_sweep.fetching.cache import cache_root

from .trainable import TrainingData

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from transformers import PreTrainedTokenizerBase

    from droplora_sweep.evaluation.prompting import Prompts
    from droplora_sweep.spec.trial import TrialSpec
    from droplora_sweep.tasks.task import Task

logger = logging.getLogger(__name__)

LEAST_EXAMPLES = 2000
"""Fewer are tokenised in a second, by each worker for itself."""
MOST_KEPT = 16
"""Tasks that a node keeps; those that were not used for longest go."""
FACTS = "facts.json"


class MappedSequences(Sequence[Encoded]):
    """Sequences in one array of tokens.

    Args:
        tokens: Of all sequences, one after the other (int32).
        table: A row of each sequence: the end of its tokens, and its ``num_prompt_tokens`` (int64).
        counted: True for each of ``tokens`` that the loss is on; None for all behind the prompts.
    """

    def __init__(self, tokens: np.ndarray, table: np.ndarray, counted: np.ndarray | None) -> None:
        self._tokens = tokens
        self._table = table
        self._counted = counted

    def __len__(self) -> int:
        return len(self._table)

    @overload
    def __getitem__(self, index: int) -> Encoded: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Encoded, ...]: ...
    def __getitem__(self, index: int | slice) -> Encoded | tuple[Encoded, ...]:
        if isinstance(index, slice):
            return tuple(self[one] for one in range(len(self))[index])
        number = range(len(self))[index]
        start = int(self._table[number - 1, 0]) if number else 0
        end, num_prompt_tokens = map(int, self._table[number])
        counted = None if self._counted is None else self._counted[start:end]
        if counted is not None and counted[num_prompt_tokens:].all():
            counted = None
        return Encoded(self._tokens[start:end], num_prompt_tokens, counted)


def read_shared(
    spec: TrialSpec,
    task: Task,
    prompts: Prompts,
    tokenizer: PreTrainedTokenizerBase,
    tokenise: Callable[[], TrainingData],
) -> TrainingData:
    """Return a trial's training data, tokenised by the first process of the node that asks.

    Args:
        spec: The trial.
        task: Its task.
        prompts: How the model is asked.
        tokenizer: The model's.
        tokenise: Does the work.

    Raises:
        InputError: As ``tokenise``.
    """
    num_examples = len(task.training_examples())
    key = None if num_examples < LEAST_EXAMPLES else _key(spec, task, prompts, tokenizer)
    if key is None:
        return tokenise()
    root = cache_root().parent / "tokens"
    try:
        with _locked(root, key):
            found = _load(root / key)
            if found is None:
                data = tokenise()
                _keep(root / key, data)
                found = _load(root / key) or data
            return found
    except OSError as error:
        logger.warning(
            "%s: cannot be used (%s), so each worker tokenises the training examples",
            error.filename or root,
            error.strerror,
        )
        return tokenise()


def _key(
    spec: TrialSpec, task: Task, prompts: Prompts, tokenizer: PreTrainedTokenizerBase
) -> str | None:
    """Return the digest of all that the tokens follow from; None where that is not known."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return None
    trained_on = task.benchmarks if task.mixture is None else (task.mixture,)
    content: dict[str, Any] = {
        "versions": [__version__, tokenizers.__version__],
        "examples": {one.name: task.digests[f"{one.name}/train"] for one in trained_on},
        "prompts": {one.name: [one.prompt, one.prompt_suffix, one.system] for one in trained_on},
        "chat": prompts.digest,
        "end": prompts.end_id,
        "loss_on": spec.task.loss_on,
        "max_sequence_tokens": spec.training.max_sequence_tokens,
        "tokenizer": [type(tokenizer).__name__, backend.to_str()],
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


@contextlib.contextmanager
def _locked(root: Path, key: str) -> Iterator[None]:
    """Let one process of the node be here with this key."""
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(root / f".{key}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _load(folder: Path) -> TrainingData | None:
    """Return what was kept; None where it is not here, or not whole."""
    try:
        facts = json.loads((folder / FACTS).read_bytes())
        arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in facts["arrays"]}
        if {name: list(array.shape) for name, array in arrays.items()} != facts["arrays"]:
            return None
        os.utime(folder)
        sequences = MappedSequences(arrays["tokens"], arrays["table"], arrays.get("counted"))
        return TrainingData(sequences, **facts["counts"])
    except (OSError, EOFError, ValueError, KeyError, TypeError):
        return None


def _keep(folder: Path, data: TrainingData) -> None:
    """Write tokenised examples for others, and let go of those that were not used for longest."""
    new = folder.with_name(f".new-{uuid.uuid4().hex[:12]}")
    arrays = _arrays(data.sequences)
    facts = {
        "arrays": {name: list(array.shape) for name, array in arrays.items()},
        "counts": {
            "num_overlong": data.num_overlong,
            "num_empty": data.num_empty,
            "num_shortened": data.num_shortened,
        },
    }
    try:
        new.mkdir(mode=0o700)
        for name, array in arrays.items():
            np.save(new / f"{name}.npy", array)
        (new / FACTS).write_text(json.dumps(facts))
        shutil.rmtree(folder, ignore_errors=True)
        new.rename(folder)
        kept = [one for one in folder.parent.iterdir() if not one.name.startswith(".")]
        for old in sorted(kept, key=lambda one: one.stat().st_mtime)[:-MOST_KEPT]:
            # Who has mapped it keeps it: the file is gone once the last one ends.
            shutil.rmtree(old, ignore_errors=True)
            old.with_name(f".{old.name}.lock").unlink(missing_ok=True)
    except OSError as error:
        logger.warning("%s: tokens cannot be kept for other workers: %s", folder, error.strerror)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _arrays(sequences: Sequence[Encoded]) -> dict[str, np.ndarray]:
    ends = np.cumsum([len(one.tokens) for one in sequences])
    starts = [one.num_prompt_tokens for one in sequences]
    arrays = {
        "tokens": np.concatenate([one.tokens for one in sequences]),
        "table": np.stack([ends, np.array(starts)], axis=1).astype(np.int64),
    }
    if any(one.counted is not None for one in sequences):
        arrays["counted"] = np.concatenate([one.is_counted for one in sequences])
    return arrays
