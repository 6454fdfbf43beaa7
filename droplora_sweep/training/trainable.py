"""Sequences that can be trained on, and the number of those that cannot; no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from droplora_sweep.evaluation.encoding import Encoded


@dataclass(frozen=True, eq=False)
class TrainingData:
    """All sequences of a task for one tokenizer, in the task's order.

    Attributes:
        sequences: Those within the limit.
        num_overlong: Number of those left out because they exceed it.
        num_empty: Number of those left out because their response is empty or white space.
        num_shortened: Number of those that are trained on without their last turns, which exceed
            the limit.
    """

    sequences: Sequence[Encoded]
    num_overlong: int
    num_empty: int = 0
    num_shortened: int = 0

    def highest_token(self) -> int:
        """Return the highest token id of all sequences, of which there is one at least."""
        return max(int(sequence.tokens.max()) for sequence in self.sequences)


def trainable(sequences: Sequence[Encoded | None], max_tokens: int) -> TrainingData:
    """Return the sequences that can be trained on.

    Args:
        sequences: Examples with their responses; None for one without.
        max_tokens: A longer conversation ends with its last answer that fits; if none does, it is
            left out, not cut: a cut response is a wrong one, and a prompt that fills the sequence
            alone would leave nothing to learn.
    """
    given = [sequence for sequence in sequences if sequence is not None]
    fitting = [(one, fitted) for one in given if (fitted := one.up_to(max_tokens)) is not None]
    return TrainingData(
        tuple(fitted for _, fitted in fitting),
        num_overlong=len(given) - len(fitting),
        num_empty=len(sequences) - len(given),
        num_shortened=sum(one is not fitted for one, fitted in fitting),
    )
