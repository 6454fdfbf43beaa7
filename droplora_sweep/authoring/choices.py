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
MIN_EPOCHS: Final = 3
_BATCHES: Final = ((400, 8), (2_000, 16), (20_000, 32))
"""Global batch sizes for fewer examples than these; 128, the paper's, beyond."""
_SMALLER_BATCHES: Final = (32, 16, 8, 4)
"""Those of trials that have to be shorter."""
WANTED_SCORED: Final = 100
"""Examples below which `plan` says that too few compare trials, or decide."""
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


def sizes_with(spare: int, sizes: Sizes) -> Sizes:
    """Return sizes with some of the examples that are spare, up to what `plan` asks for.

    >>> sizes_with(60, Sizes(60, 60))
    Sizes(num_validation=80, num_confirmation=100)
    """
    confirmation = sizes.num_confirmation
    if confirmation is not None:
        added = min(spare, max(0, WANTED_SCORED - confirmation))
        confirmation, spare = confirmation + added, spare - added
    added = min(spare, max(0, WANTED_SCORED - sizes.num_validation))
    return Sizes(sizes.num_validation + added, confirmation)


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
    epochs = min(MAX_EPOCHS, max(MIN_EPOCHS, math.ceil(WANTED_STEPS / per_epoch)))
    return Steps(batch, epochs, epochs * per_epoch)


@dataclass(frozen=True)
class Shorter:
    """A trial that is shorter than its data would have it.

    Attributes:
        num_train: Training examples of each benchmark; None for all.
        steps: Its length.
        share: Its work, of that of the whole trial.
    """

    num_train: int | None
    steps: Steps
    share: float


def shorter_than(whole: Steps, numbers: Sequence[int], share: float) -> Shorter | None:
    """Return a trial that takes at most this share of a whole one's work, and still learns.

    It has as many optimiser steps as a trial should, or as the whole one where that has fewer:
    of fewer examples, fewer times and in smaller batches.

    Args:
        whole: The trial on all examples.
        numbers: Training examples of each benchmark.
        share: In (0, 1).

    Returns:
        None where no such trial is short enough.
    """
    num_all = sum(numbers)
    seen = share * whole.epochs * num_all
    epochs = min(whole.epochs, max(MIN_EPOCHS, int(seen / num_all)))
    num_train = None
    kept = num_all
    if epochs * num_all > seen:
        num_train = next(
            (
                number
                for number in range(max(numbers), 0, -1)
                if epochs * _kept(numbers, number) <= seen
            ),
            0,
        )
        kept = _kept(numbers, num_train)
    for batch in (whole.global_batch_size, *_SMALLER_BATCHES):
        num_steps = epochs * math.ceil(kept / batch)
        if batch <= whole.global_batch_size and num_steps >= min(WANTED_STEPS, whole.num_steps):
            used = epochs * kept / (whole.epochs * num_all)
            return Shorter(num_train, Steps(batch, epochs, num_steps), used)
    return None


def _kept(numbers: Sequence[int], num_train: int) -> int:
    return sum(min(number, num_train) for number in numbers)


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
