"""The share of tasks that one of k sampled programs solves."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def pass_at_k(num_samples: int, num_correct: int, k: int) -> float:
    """The unbiased estimate of the chance that at least one of k samples is right.

    ``1 - C(n - c, k) / C(n, k)`` of arXiv 2107.03374, section 2.1, with n samples of which c are
    right: the share of the k-subsets of the samples that hold a right one. The quotient is taken
    as the product of ``1 - k / i`` for i in n - c + 1 to n, so that no factor is above 1 and none
    overflows. With n = k = 1, as in greedy decoding, it is whether the sample is right.

    Args:
        num_samples: n, at least k.
        num_correct: c, at most n.
        k: At least 1.

    Raises:
        ValueError: The numbers break one of these rules.
    """
    if not 0 <= num_correct <= num_samples:
        raise ValueError(
            f"`0 <= num_correct <= num_samples` must hold, got {num_correct=}, {num_samples=}"
        )
    if not 1 <= k <= num_samples:
        raise ValueError(f"`1 <= k <= num_samples` must hold, got {k=}, {num_samples=}")
    num_wrong = num_samples - num_correct
    if num_wrong < k:
        return 1.0
    return 1.0 - math.prod(1.0 - k / i for i in range(num_wrong + 1, num_samples + 1))


def mean_pass_at_k(passed: Sequence[Sequence[bool]], k: int) -> float:
    """The mean of ``pass_at_k`` over tasks, each given as its samples' outcomes.

    Raises:
        ValueError: There is no task, or one has fewer than k samples.
    """
    if not passed:
        raise ValueError("pass@k must have at least one task, got none")
    return math.fsum(pass_at_k(len(task), sum(task), k) for task in passed) / len(passed)
