"""The held-out text whose perplexity shows what fine-tuning makes a model forget; no torch."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field
from typing import Final

from droplora_sweep.errors import InputError
from droplora_sweep.spec import local_folder
from droplora_sweep.spec.metric_names import PERPLEXITY_AFTER, PERPLEXITY_BEFORE, PERPLEXITY_RATIO

MIN_CHARACTERS: Final = 1_000
"""A shorter text has too few tokens for its perplexity to mean anything."""

HELD_OUT_TEXT: Final = "held_out_text"
"""Name of the text's digest among those of a task's splits."""


@dataclass(frozen=True)
class HeldOutText:
    """A text and what identifies it.

    Attributes:
        text: At least ``MIN_CHARACTERS`` without the white space around it.
        digest: The sha256, in hex, over its bytes.
    """

    text: str = field(repr=False)
    digest: str


def read_held_out_text(path: str) -> HeldOutText:
    """Read the text of ``evaluation.held_out_text``.

    Raises:
        InputError: It cannot be read, is no UTF-8, or is too short.
    """
    file = local_folder(path)
    try:
        content = file.read_bytes()
        text = content.decode("utf-8-sig").strip()
    except OSError as error:
        raise _fault(f"must be a readable text file, got {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise _fault(f"must be UTF-8 text, got {path}: {error.reason}") from error
    if len(text) < MIN_CHARACTERS:
        raise _fault(f"must hold at least {MIN_CHARACTERS:,} characters, got {len(text):,}: {path}")
    return HeldOutText(text, hashlib.sha256(content).hexdigest())


def forgetting_metrics(before: float, after: float) -> dict[str, float]:
    """Return ``perplexity/before``, ``/after`` and their ``/ratio``: above 1, text got harder."""
    ratio = after / before if before < math.inf else math.nan
    return {
        PERPLEXITY_BEFORE: before,
        PERPLEXITY_AFTER: after,
        PERPLEXITY_RATIO: ratio,
    }


def _fault(problem: str) -> InputError:
    return InputError.of("evaluation.held_out_text", problem)
