"""Notes on a sweep's file that a user should know, though they are no faults."""

from __future__ import annotations

from typing import TYPE_CHECKING

from droplora_sweep.spec.adapter import paper_alpha
from droplora_sweep.spec.methods import method_of
from droplora_sweep.spec.parameters import is_number
from droplora_sweep.spec.search import RATE, DecideSpec
from droplora_sweep.spec.space import trial_limit, variants

from .composition import METHOD, RANK, combinations
from .parameter_rules import possible_values

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from droplora_sweep.spec.sweep import SweepSpec

ALPHA = "adapter.alpha"
PAPER_ALPHA = 64.0
"""LoRA's and DropLoRA's at rank 32, the paper's own setting, of which nothing needs to be said."""

_TIMES: Mapping[float, str] = {1: "the rank", 2: "twice the rank"}

MODELLED = ("tpe", "gp", "cma_es")
"""Samplers that draw at random until they have a model."""


def file_notes(sweep: SweepSpec) -> tuple[str, ...]:
    """One line each."""
    return (*_alpha(sweep), *_startup(sweep), *_rates(sweep))


def _alpha(sweep: SweepSpec) -> Iterator[str]:
    """The value that a field has which the file does not give."""
    if sweep.adapter.alpha is not None:
        return
    if all(value is not None for _, value in possible_values(ALPHA, sweep)):
        return
    settings = [(str(one[METHOD]), one[RANK]) for one in combinations((METHOD, RANK), sweep)]
    found = {
        (method, paper_alpha(method, rank))
        for method, rank in settings
        if method_of(method).has_rank and is_number(rank)
    }
    if {alpha for _, alpha in found} <= {PAPER_ALPHA}:
        return
    times = sorted({method_of(method).alpha_per_rank for method, _ in found})
    ratio = " or ".join(_TIMES.get(one, f"{one:g} times the rank") for one in times)
    numbers = [f"{alpha:g}" for alpha in sorted({alpha for _, alpha in found})]
    shown = numbers[0] if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}"
    yield f"{ALPHA}: {shown}, {ratio} as in the paper's Table 7, since the file gives none"


def _startup(sweep: SweepSpec) -> Iterator[str]:
    """A model that is never used."""
    kind, limit = sweep.search.sampler.kind, trial_limit(sweep)
    number = sweep.search.num_startup_trials
    if kind == "decide" and limit is not None:
        yield from _spread(sweep, limit)
    if kind not in MODELLED or limit is None or not sweep.search.parameters:
        return
    num_variants = len(variants(sweep)) or 1
    whose = "" if num_variants == 1 else " of each variant"
    if number >= limit // num_variants:
        yield (
            f"search.num_startup_trials: {kind} begins after {number} random trials{whose}, and "
            f"there are {limit // num_variants}: all are random; give fewer, or more trials"
        )


def _rates(sweep: SweepSpec) -> Iterator[str]:
    """Rates that are to be decided between, and more of them than trials."""
    if not isinstance(sweep.search.sampler, DecideSpec) or RATE not in sweep.search.parameters:
        return
    num_rates, limit = sweep.search.parameters[RATE].size, trial_limit(sweep)
    if limit is not None and num_rates is not None and num_rates > limit:
        yield (
            f"search.num_trials: {limit} trials for the {num_rates} values of {RATE}: they are "
            "covered evenly, and some get none; give more trials, or fewer values"
        )


def _spread(sweep: SweepSpec, limit: int) -> Iterator[str]:
    """A search that ends before it turns to what is open."""
    number = sweep.search.num_startup_trials
    if number >= limit:
        yield (
            f"search.num_startup_trials: decide spreads its first {number} trials over the rates, "
            f"and there are {limit}: none goes where the decision is open; give fewer, or more "
            "trials"
        )
