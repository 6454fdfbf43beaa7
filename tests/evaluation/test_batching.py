"""Every prompt in one batch, with little padding and within the limits."""

from __future__ import annotations

import random

import pytest

from droplora_sweep.evaluation.generation import batches, rank_share

LENGTHS = [random.Random(seed).randrange(1, 400) for seed in range(100)]


@pytest.mark.parametrize("batch_size", [1, 7, 1000])
@pytest.mark.parametrize("max_batch_tokens", [None, 1000, 5000])
def test_every_prompt_once_within_the_limits(batch_size: int, max_batch_tokens: int | None) -> None:
    result = batches(
        LENGTHS, batch_size=batch_size, max_batch_tokens=max_batch_tokens, num_new_tokens=20
    )
    assert sorted(index for batch in result for index in batch) == list(range(100))
    for batch in result:
        longest = max(LENGTHS[index] for index in batch)
        assert len(batch) <= batch_size
        if max_batch_tokens is not None and len(batch) > 1:
            assert len(batch) * (longest + 20) <= max_batch_tokens


def test_a_budget_is_used() -> None:
    assert batches([4, 4, 4, 9], batch_size=9, max_batch_tokens=15, num_new_tokens=1) == [
        [0, 1, 2],
        [3],
    ]


def test_a_prompt_beyond_the_budget_is_alone() -> None:
    result = batches([500, 2, 600], batch_size=9, max_batch_tokens=100, num_new_tokens=1)
    assert result == [[1], [0], [2]]


def test_little_is_padding() -> None:
    result = batches(LENGTHS, batch_size=10, num_new_tokens=1)
    padded = sum(len(batch) * max(LENGTHS[index] for index in batch) for batch in result)
    assert padded < 1.1 * sum(LENGTHS)
    assert batches([], batch_size=1, num_new_tokens=1) == []


def test_ranks_share_the_long_ones() -> None:
    shares = [rank_share(LENGTHS, rank, 3) for rank in range(3)]
    assert sorted(index for share in shares for index in share) == list(range(100))
    tokens = [sum(LENGTHS[index] for index in share) for share in shares]
    assert max(tokens) < 1.05 * min(tokens)
