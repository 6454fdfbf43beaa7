"""Chance of each of several settings to be the best of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from droplora_sweep.spec import Scalar

    from .coordinates import Array
    from .process import Posterior

NUM_DRAWS = 4000


def chances_to_be_best(posterior: Posterior, settings: Sequence[Mapping[str, Scalar]]) -> Array:
    """Return each setting's share of the posterior's draws in which it is the best.

    The draws have a fixed seed.

    Args:
        posterior: Of the expected scores.
        settings: Raw values of each.
    """
    _, drawn = posterior.draws(settings, NUM_DRAWS, seed=0)
    best = drawn.argmax(axis=1)
    shares: Array = (best[:, None] == range(len(settings))).mean(axis=0)
    return shares
