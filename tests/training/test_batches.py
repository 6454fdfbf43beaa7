from __future__ import annotations

import itertools
import random

import pytest

from droplora_sweep.training.data import epoch_order, global_batch, split_batch


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


@pytest.mark.parametrize("world_size", [1, 2, 3])
@pytest.mark.parametrize("micro_batch_size", [1, 4, 16])
@pytest.mark.parametrize("num_sequences", [1, 2, 7, 16, 33])
def test_a_split_loses_nothing_and_keeps_the_ranks_in_pace(
    world_size: int, micro_batch_size: int, num_sequences: int
) -> None:
    numbers = random.Random(0)
    lengths = [numbers.randint(5, 60) for _ in range(40)]
    batch = numbers.sample(range(40), num_sequences)
    plan = split_batch(batch, lengths, world_size, micro_batch_size)

    assert len(plan) == world_size
    assert len({len(micro_batches) for micro_batches in plan}) == 1
    micro_batches = list(itertools.chain(*plan))
    assert sorted(itertools.chain(*micro_batches)) == sorted(batch)
    sizes = {len(micro_batch) for micro_batch in micro_batches}
    assert max(sizes) <= micro_batch_size
    assert max(sizes) - min(sizes) <= 1
    assert -(-num_sequences // (world_size * micro_batch_size)) == len(plan[0])


def test_neighbours_in_length_share_a_micro_batch_longest_first() -> None:
    lengths = [10, 50, 11, 51, 12, 52, 13, 53]
    plan = split_batch(range(8), lengths, world_size=2, micro_batch_size=2)
    assert plan == [[[7, 5], [6, 4]], [[3, 1], [2, 0]]]
