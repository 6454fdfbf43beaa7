"""Population-based training: searched values that a trial changes while it trains."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from .base import Scalar, SpecModel

if TYPE_CHECKING:
    from collections.abc import Mapping

MUTABLE = (
    "adapter.pruning_rate",
    "adapter.dropout",
    "training.learning_rate",
    "training.weight_decay",
)
"""Fields that leave the shapes of what is trained, the steps and the data as they are."""


class PopulationSpec(SpecModel):
    """Population-based training (arXiv 1711.09846), asynchronous: nobody waits for anybody.

    Every trial is a member. After each of its evaluations but the last, a member that is among the
    worst of all that have reached the same evaluation copies weights and optimiser, as they were at
    that evaluation, from one of the best, and goes on with the other's values, changed at random.
    Baselines never copy; they may be copied from.
    """

    quantile: Annotated[float, Field(gt=0, le=0.5)] = 0.25
    """Share of the members that are the worst, and of those that are the best; rounded up, and at
    most half of them (the paper's truncation selection has 0.2, Ray Tune 0.25)."""
    min_members: Annotated[int, Field(ge=2)] = 4
    """So many members, the one that asks included, must have reached an evaluation before any
    copies there."""
    resample_probability: Annotated[float, Field(ge=0, le=1)] = 0.25
    """How often a copied value is drawn anew from its whole range (Ray Tune's default)."""
    perturbation: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Otherwise it is multiplied by 1 + this or 1 - this (the paper's 1.2 or 0.8), within its
    range. A value of 0 stays 0 but for new draws."""


@dataclass(frozen=True)
class Turn:
    """What a member does after one of its evaluations.

    Attributes:
        evaluation: Number of the evaluation, from 1.
        source: The trial that it copies weights and optimiser from, as they were there; None where
            it goes on as it is.
        settings: Every field that the population changes, by dotted path, with its value from here
            on; empty where it goes on as it is.
    """

    evaluation: int
    source: str | None = None
    settings: Mapping[str, Scalar] = field(default_factory=dict)
