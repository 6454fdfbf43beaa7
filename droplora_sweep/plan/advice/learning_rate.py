"""A learning rate to begin with, from the model alone, and advice where a space misses it.

The fit is ``lr = 5e-5 * 10 * (2000 / H) ** P`` for LoRA on a model of hidden size H: a base rate of
5e-5, ten times that for LoRA ("LoRA Without Regret", Schulman and Thinking Machines Lab, 2025), and
an exponent of the model's family, 0.781 for Llama and 0.0775 for Qwen (``get_lr`` in the module
``hyperparam_utils`` of the published tinker-cookbook; it has none for other families). So it
is 2.9e-4 for a Llama of 8B, where the DropLoRA paper trains with 3e-4.

It is a prior and no more. It was fitted on other tasks, with the update scaled by 32 / rank: a
larger ``adapter.alpha`` wants a lower rate. It knows nothing of the batch, and small data sets and
batches bear less. So it is advice for a range to hold, never a default.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from droplora_sweep.spec import Choice, possible_values
from droplora_sweep.spec.methods import method_of
from droplora_sweep.spec.parameters import is_number
from droplora_sweep.spec.rules.composition import METHOD

from .line import Advice

if TYPE_CHECKING:
    from collections.abc import Iterator

    from droplora_sweep.models.inspecting import ModelSummary
    from droplora_sweep.plan.survey import Survey

LEARNING_RATE = "training.learning_rate"
BASE_RATE = 5e-5
LORA_MULTIPLIER = 10
FITTED_WIDTH = 2000
EXPONENTS = {"llama": 0.781, "qwen": 0.0775}
"""By family, as the cookbook has them. A family without one gets both ends: nothing is known of its
exponent, and no range is called odd that either of them would reach."""
CAP = 1e-3
"""No higher rate is suggested: above it the fit extrapolates to models smaller than any in it. A
searched range that reaches above the cap is taken at its word."""
MIN_WIDTH = 512
"""Below it there is no prior: the fit's models are four times as wide and more."""
NEAR = 3.0
"""A single rate within this factor of the prior is no oddity. The factor is ours: a prior that
knows neither task nor batch is hardly better than that."""
WIDEST_DECADES = 2.5
"""A range beyond it spends most of a search on rates that diverge or do nothing."""
NARROWEST = 1.5
"""Rates within this factor score alike."""


@dataclass(frozen=True)
class LearningRatePrior:
    """Learning rates that the fit gives for LoRA on one model.

    Attributes:
        low: The lowest.
        high: The highest; the same where the model's family has an exponent.
    """

    low: float
    high: float

    @property
    def suggested(self) -> float:
        """The rate to begin with: their geometric mean, at most ``CAP``."""
        return min(CAP, math.sqrt(self.low * self.high))

    @property
    def reach(self) -> tuple[float, float]:
        """The lowest and the highest rate that agree with it."""
        return min(CAP, self.low), self.high


def fitted_rate(width: int, exponent: float) -> float:
    """Return the fit's learning rate, before any cap.

    >>> round(fitted_rate(4096, EXPONENTS["llama"]), 6), round(fitted_rate(3584, 0.0775), 6)
    (0.000286, 0.000478)
    """
    return BASE_RATE * LORA_MULTIPLIER * (FITTED_WIDTH / width) ** exponent


def learning_rate_prior(architecture: str, width: int) -> LearningRatePrior | None:
    """Return the prior of a model; None for one that is far smaller than those of the fit.

    Args:
        architecture: Class name from config.json, e.g. ``LlamaForCausalLM``.
        width: Its hidden size.
    """
    if width < MIN_WIDTH:
        return None
    own = [exponent for name, exponent in EXPONENTS.items() if name in architecture.lower()]
    rates = [fitted_rate(width, exponent) for exponent in own or EXPONENTS.values()]
    return LearningRatePrior(min(rates), max(rates))


def learning_rate_advice(found: Survey) -> Iterator[Advice]:
    """Yield what is odd about the learning rates that a sweep searches, or does not search."""
    sweep = found.sweep
    parameter = sweep.search.parameters.get(LEARNING_RATE)
    rates = [rate for _, rate in possible_values(LEARNING_RATE, sweep) if is_number(rate)]
    low, high = min(rates), max(rates)
    if parameter is not None and high > low:
        yield from _width(low, high)
    if parameter is None and sweep.search.compare:
        odd = f"{low:.2g} is that of every variant of `search.compare`, and suits none but by luck"
        yield Advice(LEARNING_RATE, odd, "search it, so that each variant has its own")
    yield from _carried_over(found)
    # A range is searched on the search's model.
    model = found.search_model
    prior = None if model is None else prior_of(model)
    methods = [method_of(str(name)) for _, name in possible_values(METHOD, sweep)]
    if prior is None or not any(method.has_rank for method in methods):
        return
    suggested, (least, most) = f"{prior.suggested:.1e}", prior.reach
    whose = f"for LoRA on this {_kind(model)}"
    if parameter is None or low == high:
        if not least / NEAR <= low <= most * NEAR:
            odd = f"{low:.2g} is not searched, and a published fit gives about {suggested} {whose}"
            yield Advice(LEARNING_RATE, odd, "search a range that holds both")
    elif isinstance(parameter, Choice):
        if not any(least / NEAR <= rate <= most * NEAR for rate in rates):
            odd = f"no value is near the {suggested} that a published fit gives {whose}"
            yield Advice(LEARNING_RATE, odd, "add one")
    elif high < least or low > most:
        side = "below" if high < least else "above"
        odd = (
            f"{low:.2g} to {high:.2g} is {side} the {suggested} that a published fit gives {whose}"
        )
        yield Advice(LEARNING_RATE, odd, "let the range hold it")


def _carried_over(found: Survey) -> Iterator[Advice]:
    """Rates that suit a small model are trained with on the large one as they are."""
    small, large = found.search_model, found.model
    if small is large or LEARNING_RATE not in found.sweep.search.parameters:
        return
    priors = [prior_of(model) for model in (small, large) if model is not None]
    odd = "is searched on another model than the one that is confirmed, and kept as it is"
    if len(priors) == 2 and priors[0] is not None and priors[1] is not None:
        first, second = (prior.suggested for prior in priors if prior is not None)
        odd += f", where a published fit gives {first:.1e} and {second:.1e}"
    yield Advice(LEARNING_RATE, odd, "fix it for the search, or search on less data instead")


def _width(low: float, high: float) -> Iterator[Advice]:
    decades = math.log10(high / low)
    if decades > WIDEST_DECADES:
        odd = f"{low:.2g} to {high:.2g} spans {decades:.1f} decades, most of which train badly"
        yield Advice(LEARNING_RATE, odd, "give a factor of 10 to 100")
    elif high / low < NARROWEST:
        odd = f"{low:.2g} to {high:.2g} is a factor of {high / low:.2g}, less than shows in a score"
        yield Advice(LEARNING_RATE, odd, "give a factor of 3 or more, or fix it")


def prior_of(model: ModelSummary) -> LearningRatePrior | None:
    """Return the prior of a model whose hidden size is known, by its embedding if need be."""
    if model.dimensions is not None:
        return learning_rate_prior(model.architecture, model.dimensions.width)
    widths = (
        shape[1]
        for name, shape in model.shapes.items()
        if name.endswith(("embed_tokens.weight", "wte.weight")) and len(shape) == 2
    )
    width = next(widths, None)
    return None if width is None else learning_rate_prior(model.architecture, width)


def _kind(model: ModelSummary | None) -> str:
    assert model is not None, "it has a prior"
    return model.architecture
