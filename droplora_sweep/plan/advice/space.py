"""Advice on the searched fields other than the learning rate, and on their number."""

from __future__ import annotations

from typing import TYPE_CHECKING

from droplora_sweep.spec import possible_values, trial_limit
from droplora_sweep.spec.parameters import is_number
from droplora_sweep.spec.rules.composition import RANK, RATE, combinations

from .line import Advice

if TYPE_CHECKING:
    from collections.abc import Iterator

    from droplora_sweep.spec import SweepSpec

ALPHA = "adapter.alpha"
DROPOUT = "adapter.dropout"
HIGH_DROPOUT = 0.2
"""The paper's is 0.05."""
HIGH_RATE = 0.5
"""The highest of the paper's Table 7."""
EXTREME_RATE, SMALL_RANK = 0.9, 4
"""Together they leave less than half a rank on average."""


def space_advice(sweep: SweepSpec) -> Iterator[Advice]:
    """Yield what is odd about the space and the number of its trials."""
    yield from _rates(sweep)
    yield from _alpha(sweep)
    yield from _too_much_at_once(sweep)
    yield from _stopping(sweep)


def _rates(sweep: SweepSpec) -> Iterator[Advice]:
    rates = sweep.search.parameters.get(RATE)
    if rates is None or rates.size == 1:
        return
    if all(rate != 0 for _, rate in possible_values(RATE, sweep)):
        odd = (
            "0 is not among its values, so that LoRA without pruning is not tuned as the rates are"
        )
        yield Advice(RATE, odd, "add 0, which every rate is compared with")
    limit = trial_limit(sweep)
    if rates.size is not None and limit is not None and limit < rates.size:
        odd = f"{limit} trials are fewer than the {rates.size} values of {RATE}"
        yield Advice("search.num_trials", odd, "give more trials, or fewer rates")


def _alpha(sweep: SweepSpec) -> Iterator[Advice]:
    ranks = {value for _, value in possible_values(RANK, sweep) if is_number(value)}
    alpha = sweep.adapter.alpha
    if alpha is None or ALPHA in sweep.search.parameters or len(ranks) < 2:
        return
    times = max(ranks) / min(ranks)
    odd = f"{alpha:g} whatever the rank, so that the scale alpha / rank differs {times:g}fold"
    remedy = f"leave it out, so that it follows the rank, or search it with `ratio_of: {RANK}`"
    yield Advice(ALPHA, odd, remedy)


def _too_much_at_once(sweep: SweepSpec) -> Iterator[Advice]:
    """Combinations of which the highest alone is told."""
    settings = [
        (float(one[DROPOUT] or 0), float(one[RATE] or 0), int(one[RANK] or 0))
        for one in combinations((DROPOUT, RATE, RANK), sweep)
    ]
    both = [
        (drop, rate) for drop, rate, _ in settings if drop >= HIGH_DROPOUT and rate >= HIGH_RATE
    ]
    if both:
        dropout, rate = max(both)
        odd = f"up to {dropout:g} beside a pruning rate of {rate:g}, which drops ranks as well"
        yield Advice(DROPOUT, odd, "lower one of them: together they leave little to learn from")
    sparse = [
        (rate, rank)
        for _, rate, rank in settings
        if rate >= EXTREME_RATE and 0 < rank <= SMALL_RANK
    ]
    if sparse:
        rate, rank = min(sparse, key=lambda one: one[1] * (1 - one[0]))
        odd = f"{rate:g} of rank {rank} leaves {rank * (1 - rate):.2g} ranks on average"
        yield Advice(RATE, odd, "give lower rates, or a higher `adapter.rank`")


def _stopping(sweep: SweepSpec) -> Iterator[Advice]:
    kind = sweep.search.stopping.kind
    is_given = kind != "none" and "stopping" in sweep.search.model_fields_set
    if is_given and sweep.evaluation.num_evaluations < 2:
        odd = f"{kind} stops nothing, since trials are evaluated at their end alone"
        yield Advice("search.stopping", odd, "raise `evaluation.num_evaluations`, or give none")
