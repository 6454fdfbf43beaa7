from __future__ import annotations

import itertools
import math
import random

import pytest

from droplora_sweep.evaluation.results import mean_pass_at_k, pass_at_k


@pytest.mark.parametrize("num_samples", range(1, 9))
def test_it_is_the_share_of_subsets_with_a_right_sample(num_samples: int) -> None:
    for num_correct, k in itertools.product(range(num_samples + 1), range(1, num_samples + 1)):
        samples = [True] * num_correct + [False] * (num_samples - num_correct)
        subsets = list(itertools.combinations(samples, k))
        share = sum(map(any, subsets)) / len(subsets)
        assert pass_at_k(num_samples, num_correct, k) == pytest.approx(share, abs=1e-12)


def test_it_is_unbiased() -> None:
    """Over all outcomes of n samples of chance p, its mean is 1 - (1 - p)^k."""
    n, p = 10, 0.3
    for k in range(1, n + 1):
        mean = sum(
            math.comb(n, c) * p**c * (1 - p) ** (n - c) * pass_at_k(n, c, k) for c in range(n + 1)
        )
        assert mean == pytest.approx(1 - (1 - p) ** k, abs=1e-12)


def test_it_agrees_with_exact_fractions_for_many_samples() -> None:
    draw = random.Random(0)
    for _ in range(200):
        n = draw.randint(1, 3000)
        c, k = draw.randint(0, n), draw.randint(1, n)
        exact = 1 - math.comb(n - c, k) / math.comb(n, k)
        assert pass_at_k(n, c, k) == pytest.approx(exact, rel=1e-9, abs=1e-12)


def test_greedy_decoding_is_the_share_of_right_samples() -> None:
    assert pass_at_k(1, 1, 1) == 1.0
    assert pass_at_k(1, 0, 1) == 0.0
    assert pass_at_k(10, 3, 1) == pytest.approx(0.3)
    assert mean_pass_at_k([[True], [False], [True], [True]], 1) == 0.75


def test_the_mean_is_over_tasks() -> None:
    assert mean_pass_at_k([[True, False], [False, False, False]], 2) == 0.5


@pytest.mark.parametrize(
    ("num_samples", "num_correct", "k", "message"),
    [
        (2, 3, 1, "`0 <= num_correct <= num_samples` must hold, got num_correct=3, num_samples=2"),
        (2, -1, 1, "`0 <= num_correct <= num_samples` must hold, got num_correct=-1"),
        (2, 1, 0, "`1 <= k <= num_samples` must hold, got k=0, num_samples=2"),
        (2, 1, 3, "`1 <= k <= num_samples` must hold, got k=3, num_samples=2"),
    ],
)
def test_impossible_numbers_are_refused(
    num_samples: int, num_correct: int, k: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        pass_at_k(num_samples, num_correct, k)


def test_no_task_and_too_few_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="pass@k must have at least one task, got none"):
        mean_pass_at_k([], 1)
    with pytest.raises(ValueError, match="got k=2, num_samples=1"):
        mean_pass_at_k([[True, True], [True]], 2)
