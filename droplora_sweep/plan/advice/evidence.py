"""Advice on the numbers of examples and trials, which decide what a sweep can show."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from droplora_sweep.spec import possible_values, trial_limit
from droplora_sweep.spec.parameters import is_number
from droplora_sweep.spec.search import RATE

from .learning_rate import LEARNING_RATE
from .line import Advice

if TYPE_CHECKING:
    from collections.abc import Iterator

    from droplora_sweep.spec import SweepSpec

COARSE = 0.06
"""A standard error beyond this ranks by luck: settings seldom differ by more."""
FEW_EXAMPLES = 100
"""With fewer, one score's 95 % interval is wider than 10 points on either side."""
DISCORDANT = 0.1
"""Share of the examples that two settings are taken to answer differently; a guess before any run,
and said with the advice."""
SHOWN_AT_80 = 2.8
"""Standard errors of a true gap that is shown in 4 of 5 sweeps at 5 %: 1.96 + 0.84."""
FEW_TRIALS = 4
"""Trials for each rate, fewer of which find no good learning rate in a wide range."""
WIDE = 10.0
"""A range of learning rates by this factor holds some that train hardly at all."""
FAR_BELOW = 5.0
"""The gap is a rough guess, so only margins that are this many times smaller are odd."""


def evidence_advice(sweep: SweepSpec) -> Iterator[Advice]:
    """Yield what is odd about the numbers of examples, and about a search without controls."""
    yield from _controls(sweep)
    num_benchmarks, confirm = len(sweep.task.benchmarks), sweep.confirm
    error = standard_error(sweep.task.num_validation * num_benchmarks)
    if error > max(COARSE, 0.0 if confirm is None else confirm.margin):
        odd = (
            f"{sweep.task.num_validation} for each of {num_benchmarks}: one trial's mean score has "
            f"a standard error of up to {100 * error:.0f} points"
        )
        yield Advice("task.num_validation", odd, "give more, or the search ranks by luck")
    if confirm is None:
        return
    number = sweep.task.num_validation
    field = "task.num_validation"
    if confirm.examples == "new":
        number, field = sweep.task.num_confirmation or number, "task.num_confirmation"
        if number < FEW_EXAMPLES:
            half = 100 * 1.96 * standard_error(number)
            odd = f"{number} examples decide: one score's 95 % interval is up to {half:.0f} points"
            yield Advice(field, f"{odd} on either side", f"give {FEW_EXAMPLES} or more")
    gap = shown_gap(number)
    if 0 < confirm.margin * FAR_BELOW < gap:
        odd = (
            f"{confirm.margin:g} is far below what {number} examples can show, gaps of about "
            f"{100 * gap:.0f} points where two settings answer one example in ten differently"
        )
        yield Advice("confirm.margin", odd, f"raise it or `{field}`, or expect `cannot tell`")


def _controls(sweep: SweepSpec) -> Iterator[Advice]:
    """A rate may lead by a learning rate that p = 0 was never tried with."""
    parameters = sweep.search.parameters
    rates, learning_rates = parameters.get(RATE), parameters.get(LEARNING_RATE)
    limit = trial_limit(sweep)
    if sweep.confirm is None or sweep.confirm.controls or rates is None or learning_rates is None:
        return
    values = [value for _, value in possible_values(LEARNING_RATE, sweep) if is_number(value)]
    if limit is None or not rates.size or max(values) < WIDE * min(values):
        return
    if rates.size > 1 and limit < FEW_TRIALS * rates.size:
        odd = (
            f"false, while {limit} trials are to find a learning rate for each of {rates.size} "
            f"rates, of a range of {min(values):g} to {max(values):g}"
        )
        remedy = "set true, so that a gain is the rate's own, or give more trials"
        yield Advice("confirm.controls", odd, remedy)


def standard_error(num_examples: int) -> float:
    """Return the largest standard error of a mean of right or wrong: that at one half.

    >>> standard_error(100)
    0.05
    """
    return math.sqrt(0.25 / num_examples)


def shown_gap(num_examples: int) -> float:
    """Return the smallest true gap of two paired scores that so many examples show at 80 % power.

    The paired difference of two answers is -1, 0 or 1, and so its variance is the share of examples
    that they differ on, less the gap's square. With several seeds it is smaller as far as the
    answers differ by the chance of a training run.

    >>> round(shown_gap(200), 3), round(shown_gap(5000), 3)
    (0.061, 0.013)
    """
    return SHOWN_AT_80 * math.sqrt(DISCORDANT / (num_examples + SHOWN_AT_80**2))
