"""Which prompts are computed together; pure decisions."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def rank_share(lengths: Sequence[int], rank: int, world_size: int) -> list[int]:
    """This rank's examples, shortest first.

    Every rank gets as many long ones as the others; together the shares are all examples.

    Args:
        lengths: Tokens of every example's prompt.
        rank: In [0, world_size).
        world_size: How many ranks share the examples.
    """
    return by_length(lengths)[rank::world_size]


def by_length(lengths: Sequence[int]) -> list[int]:
    """Indices, shortest first, equal ones in their order."""
    return sorted(range(len(lengths)), key=lambda index: (lengths[index], index))


def batches(
    lengths: Sequence[int],
    *,
    batch_size: int,
    max_batch_tokens: int | None = None,
    num_new_tokens: int,
) -> list[list[int]]:
    """Indices, each in one batch; prompts of similar length share one, which saves padding.

    Args:
        lengths: Tokens of every prompt.
        batch_size: The most prompts in a batch.
        max_batch_tokens: The most tokens in a batch, prompts padded to the longest one and
            ``num_new_tokens`` for each; a prompt beyond it is alone in its batch. None: no such
            limit.
        num_new_tokens: The most tokens that are added to a prompt.
    """
    result: list[list[int]] = []
    for index in by_length(lengths):
        # In this order the prompt at hand is the longest of its batch.
        num_row_tokens = lengths[index] + num_new_tokens
        num_rows = len(result[-1]) + 1 if result else 1
        fits = max_batch_tokens is None or num_rows * num_row_tokens <= max_batch_tokens
        if not result or num_rows > batch_size or not fits:
            result.append([])
        result[-1].append(index)
    return result
