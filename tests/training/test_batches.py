from __future__ import annotations

import itertools
import random
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from droplora_sweep.evaluation.encoding import Encoded
from droplora_sweep.evaluation.sequences import collate
from droplora_sweep.training.data import epoch_order, global_batch, split_batch

if TYPE_CHECKING:
    from collections.abc import Sequence


def test_an_epoch_is_a_permutation_and_the_next_another() -> None:
    first, second = (epoch_order(50, seed=1, epoch=epoch) for epoch in (0, 1))
    assert sorted(first) == sorted(second) == list(range(50))
    assert len({first, second, epoch_order(50, seed=2, epoch=0)}) == 3


def test_the_order_is_the_same_in_every_process_and_version() -> None:
    assert epoch_order(8, seed=42, epoch=0) == (1, 2, 5, 7, 6, 0, 3, 4)


@pytest.mark.parametrize(("num_examples", "size"), [(10, 3), (9, 3), (2, 5)])
def test_the_batches_of_an_epoch_hold_every_example_once(num_examples: int, size: int) -> None:
    per_epoch = -(-num_examples // size)
    for epoch in range(2):
        steps = range(epoch * per_epoch, (epoch + 1) * per_epoch)
        batches = [global_batch(step, num_examples, size, seed=1) for step in steps]
        assert sorted(itertools.chain(*batches)) == list(range(num_examples))
        assert all(len(batch) == size for batch in batches[:-1])


def split(
    batch: Sequence[int], lengths: Sequence[int], world_size: int, size: int, **given: int
) -> tuple[list[list[list[int]]], list[list[int]]]:
    """The plan, and the tokens of its micro-batches with padding, by rank and micro-step."""
    plan = split_batch(batch, lengths, world_size, size, **given)
    encoded = [Encoded(np.arange(length), 1) for length in lengths]
    costs = [
        [
            collate([encoded[one] for one in chunk], 0, torch.device("cpu")).inputs.numel()
            if chunk
            else 0
            for chunk in micro_batches
        ]
        for micro_batches in plan
    ]
    return plan, costs


def waited_for(costs: list[list[int]]) -> int:
    """Tokens of the largest micro-batch of each micro-step, for which all ranks wait."""
    return sum(max(step) for step in zip(*costs, strict=True))


@pytest.mark.parametrize("world_size", [1, 2, 3])
@pytest.mark.parametrize("micro_batch_size", [1, 4, 16])
@pytest.mark.parametrize("num_sequences", [1, 2, 7, 16, 33])
@pytest.mark.parametrize("tokens", [None, 64, 200])
def test_a_split_loses_nothing_and_keeps_the_limits(
    world_size: int, micro_batch_size: int, num_sequences: int, tokens: int | None
) -> None:
    numbers = random.Random(0)
    lengths = [numbers.randint(5, 60) for _ in range(40)]
    batch = numbers.sample(range(40), num_sequences)
    given = {} if tokens is None else {"micro_batch_tokens": tokens}
    plan, costs = split(batch, lengths, world_size, micro_batch_size, **given)

    assert len(plan) == world_size
    assert len({len(micro_batches) for micro_batches in plan}) == 1
    micro_batches = list(itertools.chain(*plan))
    assert sorted(itertools.chain(*micro_batches)) == sorted(batch)
    assert max(map(len, micro_batches)) <= micro_batch_size
    assert max(itertools.chain(*costs)) <= (tokens or 64 * micro_batch_size)
    fewest = -(-num_sequences // (world_size * micro_batch_size))
    assert fewest <= len(plan[0])
    if tokens is None:
        # Of so few tokens a further micro-step costs more than it saves.
        assert len(plan[0]) == fewest


def test_ranks_wait_for_hardly_more_than_the_tokens_that_there_are() -> None:
    """The paper's 4 ranks, batches of 128 and 32 at once; lengths spread as its mixture's are.

    Equal numbers of sequences, the longest on one rank, would have them wait for 1.9 times as many.
    """
    numbers = random.Random(0)
    lengths = [min(244, 60 + int(numbers.lognormvariate(3, 0.9))) for _ in range(12_800)]
    real, waited, ordered, uneven = 0.0, 0, 0, []
    for start in range(0, len(lengths), 128):
        batch = range(start, start + 128)
        _, costs = split(batch, lengths, 4, 32)
        real += sum(lengths[one] for one in batch) / 4
        waited += waited_for(costs)
        ordered += 32 * max(lengths[one] for one in batch)
        by_rank = [sum(one) for one in costs]
        uneven.append(max(by_rank) / (sum(by_rank) / 4))
    assert ordered / real > 1.9
    assert waited / real < 1.15
    assert np.mean(uneven) < 1.05


def test_short_sequences_go_together_in_numbers_within_a_limit_of_tokens() -> None:
    lengths = [512] * 4 + [64] * 60
    plan, costs = split(range(64), lengths, 1, 64, micro_batch_tokens=1024)
    assert [len(chunk) for chunk in plan[0]] == [2, 2, 15, 15, 15, 15]
    assert max(costs[0]) == 1024


def test_neighbours_in_length_share_a_micro_batch_longest_first() -> None:
    lengths = [10, 50, 11, 51, 12, 52, 13, 53]
    plan = split_batch(range(8), lengths, world_size=2, micro_batch_size=2)
    assert plan == [[[7, 5], [6, 4]], [[3, 1], [2, 0]]]
