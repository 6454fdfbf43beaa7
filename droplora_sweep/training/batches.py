"""Which sequences each worker trains on in each micro-batch: pure, and the same on every rank.

The gradient of a global batch does not depend on how it is split: its loss is the sum over its
response tokens divided by their number, which every rank knows, because every rank computes the
same plan. So a global batch may be sorted by length to save padding.
"""

from __future__ import annotations

import random
from functools import lru_cache
from typing import TYPE_CHECKING

from .schedule import steps_per_epoch

if TYPE_CHECKING:
    from collections.abc import Sequence


@lru_cache(maxsize=2)
def epoch_order(num_examples: int, seed: int, epoch: int) -> tuple[int, ...]:
    """A permutation of the examples; it depends on nothing but the arguments."""
    order = list(range(num_examples))
    random.Random(f"{seed}/{epoch}").shuffle(order)
    return tuple(order)


def global_batch(
    step: int, num_examples: int, global_batch_size: int, seed: int
) -> tuple[int, ...]:
    """The examples of one optimiser step (0-based), over all epochs.

    Each epoch is its own permutation cut into batches; an epoch's last batch is smaller if the
    batch size does not divide the number of examples.
    """
    epoch, index = divmod(step, steps_per_epoch(num_examples, global_batch_size))
    start = index * global_batch_size
    return epoch_order(num_examples, seed, epoch)[start : start + global_batch_size]


def split_batch(
    batch: Sequence[int], lengths: Sequence[int], world_size: int, micro_batch_size: int
) -> list[list[list[int]]]:
    """Split one global batch over ranks and micro-batches.

    The longest sequences come first, so that running out of memory shows in the first
    micro-batch; neighbours in length share a micro-batch, which saves padding, and a micro-step,
    which keeps the ranks in pace. Sizes differ by one at most. Every rank gets the same number of
    micro-batches, since each one ends in a collective; with fewer sequences than ranks some are
    empty.

    Args:
        batch: Example numbers.
        lengths: Tokens of each example, by example number.
        world_size: Number of ranks.
        micro_batch_size: Upper bound of a micro-batch.

    Returns:
        ``[rank][micro_step]`` to example numbers.
    """
    ordered = sorted(batch, key=lambda example: (-lengths[example], example))
    num_micro_steps = max(1, -(-len(ordered) // (world_size * micro_batch_size)))
    num_chunks = num_micro_steps * world_size
    ends = [len(ordered) * (index + 1) // num_chunks for index in range(num_chunks)]
    chunks = [ordered[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True)]
    return [chunks[rank::world_size] for rank in range(world_size)]
