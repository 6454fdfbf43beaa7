"""Values of a first search space, chosen by the model and the data, each with its reason."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from droplora_sweep.errors import InputError
from droplora_sweep.plan.advice.learning_rate import MIN_WIDTH, prior_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from droplora_sweep.models.inspecting import ModelSummary

    from .own_data import Amount

MIN_RECORDS: Final = 16
SCARCE: Final = 120
"""With fewer examples to train on, the validation examples decide too."""
_SHARE: Final = 6
"""One example in six validates, one in six confirms."""
MAX_VALIDATION: Final = 200
MAX_CONFIRMATION: Final = 400
WANTED_STEPS: Final = 60
"""Three times the number below which `plan` calls a trial short."""
MAX_EPOCHS: Final = 12
_BATCHES: Final = ((400, 8), (2_000, 16), (20_000, 32))
"""Global batch sizes for fewer examples than these; 128, the paper's, beyond."""
_TOKEN_STEP: Final = 32
MAX_TOKENS: Final = 2048


@dataclass(frozen=True)
class Sizes:
    """Examples of each benchmark that are scored.

    Attributes:
        num_validation: To compare the search's trials.
        num_confirmation: To decide on; None where the validation examples are used again.
    """

    num_validation: int
    num_confirmation: int | None


def sizes_for(amounts: Sequence[Amount]) -> Sizes:
    """Return sizes that every one of these benchmarks can give.

    Raises:
        InputError: One has too few records.
    """
    few = min(amounts, key=lambda one: one.num_train + one.num_validation)
    num_all = few.num_train + few.num_validation
    if num_all < MIN_RECORDS:
        problem = f"must hold at least {MIN_RECORDS} different questions to train on and to score"
        raise InputError.of("--data", f"{problem}, got {num_all}")
    pool = few.num_validation or num_all
    if few.num_train < SCARCE:
        share = pool if few.num_validation else max(4, pool // 4)
        return Sizes(min(MAX_VALIDATION, share), None)
    share = max(8, num_all // _SHARE)
    validation = min(MAX_VALIDATION, share, max(1, few.num_validation // 2) or share)
    if not few.num_validation:
        validation = min(MAX_VALIDATION, share)
    return Sizes(validation, min(MAX_CONFIRMATION, share))


@dataclass(frozen=True)
class Steps:
    """Length of a trial.

    Attributes:
        global_batch_size: Examples of a step.
        epochs: Passes over the data.
        num_steps: Optimiser steps.
    """

    global_batch_size: int
    epochs: int
    num_steps: int


def steps_for(num_examples: int) -> Steps:
    """Return batch size and epochs for so many training examples.

    >>> steps_for(40), steps_for(3000)
    (Steps(global_batch_size=8, epochs=12, num_steps=60), Steps(global_batch_size=32, epochs=3, \
num_steps=282))
    """
    batch = next((size for limit, size in _BATCHES if num_examples < limit), 128)
    per_epoch = math.ceil(num_examples / batch)
    epochs = min(MAX_EPOCHS, max(3, math.ceil(WANTED_STEPS / per_epoch)))
    return Steps(batch, epochs, epochs * per_epoch)


@dataclass(frozen=True)
class RateRange:
    """Learning rates to search.

    Attributes:
        low: The lowest.
        high: The highest.
        why: Their source.
    """

    low: float
    high: float
    why: str


def learning_rates(model: ModelSummary | None) -> RateRange:
    """Return the range of learning rates for LoRA on a model; see `plan.advice.learning_rate`."""
    prior = None if model is None else prior_of(model)
    if prior is not None:
        low, high = _rounded(prior.suggested / 3), _rounded(prior.suggested * 3)
        return RateRange(low, high, f"a published fit gives {prior.suggested:.1e} for this model")
    width = None if model is None or model.dimensions is None else model.dimensions.width
    if width is not None and width < MIN_WIDTH:
        return RateRange(3e-3, 3e-2, f"a model of width {width} learns at high rates")
    return RateRange(1e-4, 1e-3, "the usual decade for LoRA; no fit is known for this model")


def _rounded(rate: float) -> float:
    """Return the nearest rate of the series 1, 2, 3, 5 of any decade.

    >>> _rounded(0.00033), _rounded(0.00087)
    (0.0003, 0.001)
    """
    decade = math.floor(math.log10(rate))
    series = [digit * 10.0 ** (decade + step) for step in (0, 1) for digit in (1, 2, 3, 5)]
    nearest = min(series, key=lambda one: abs(math.log(one / rate)))
    return float(f"{nearest:.0e}")


def ranks_for(model: ModelSummary | None) -> tuple[int, ...]:
    """Return the ranks to search: an eighth to a half of the paper's 64, fewer on small models."""
    width = None if model is None or model.dimensions is None else model.dimensions.width
    if width is not None and width < MIN_WIDTH:
        return (1, 4, 16)
    return (4, 8, 16) if width is not None and width < 2 * MIN_WIDTH else (8, 16, 32)


@dataclass(frozen=True)
class Lengths:
    """Tokens that examples may have.

    Attributes:
        max_sequence_tokens: Longer training examples are left out.
        max_new_tokens: Longer responses are cut.
        num_left_out: Examples that are longer, of those that were looked at.
        num_seen: Examples that were looked at.
    """

    max_sequence_tokens: int
    max_new_tokens: int
    num_left_out: int
    num_seen: int


def lengths_for(
    wholes: Sequence[int], responses: Sequence[int], context_tokens: int | None
) -> Lengths:
    """Return limits that hold the examples, or most of them where a few are far longer.

    Args:
        wholes: Tokens of prompt, response and EOS of each example.
        responses: Tokens of each response.
        context_tokens: The most tokens that the model reads; None for no limit.
    """
    longest_new = _up(max(responses) + 2, 8)
    cap = min(MAX_TOKENS, context_tokens or MAX_TOKENS)
    ordered = sorted(wholes)
    usual = ordered[math.ceil(0.99 * len(ordered)) - 1]
    most = ordered[-1] if ordered[-1] <= 2 * usual else usual
    limit = min(cap // 8 * 8, _up(most, _TOKEN_STEP))
    num_left_out = sum(length > limit for length in wholes)
    room = max(8, cap // 2)
    return Lengths(limit, min(longest_new, room), num_left_out, len(wholes))


def _up(number: int, step: int) -> int:
    return -(-number // step) * step
