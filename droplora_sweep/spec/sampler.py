"""Who proposes the next trial: one kind of sampler with its options."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from .base import Count, SpecModel, as_kind


class TpeSpec(SpecModel):
    """Tree-structured Parzen estimator, over all parameters jointly (arXiv 2304.11127).

    Settings that run now count as poor ones (constant liar), which keeps parallel trials apart.
    """

    kind: Literal["tpe"] = "tpe"
    num_candidates: Count = 24
    """Settings drawn from the model of good ones, of which the likeliest gain is taken."""


class GpSpec(SpecModel):
    """Gaussian process with expected improvement; for few, costly trials of numeric parameters.

    Every parameter has to be searched in every trial: no ``when``.
    """

    kind: Literal["gp"] = "gp"
    deterministic: bool = False
    """Whether the same trial with another seed would score the same; else noise is fitted too."""


class CmaEsSpec(SpecModel):
    """CMA-ES (arXiv 1604.00772) over the ranges; choices, and what has a ``when``, are random.

    Generations are formed of finished trials in the order of their numbers.
    """

    kind: Literal["cma_es"] = "cma_es"
    initial_width: Annotated[float, Field(gt=0, le=1)] = 1 / 6
    """First standard deviation, as a share of each range."""
    population_size: Annotated[int, Field(ge=4)] | None = None
    """Trials of a generation; 4 + 3 ln(number of ranges) where null (arXiv 1604.00772)."""


class RandomSpec(SpecModel):
    """Every trial independent of all others."""

    kind: Literal["random"] = "random"


class QuasiRandomSpec(SpecModel):
    """A scrambled low-discrepancy sequence: as independent of results as random, more even."""

    kind: Literal["quasi_random"] = "quasi_random"
    sequence: Literal["sobol", "halton"] = "sobol"
    """``sobol`` is most even where the number of trials is a power of two."""


class GridSpec(SpecModel):
    """Every setting of the space once, in an order drawn from the seed; then the search ends."""

    kind: Literal["grid"] = "grid"


class Nsga2Spec(SpecModel):
    """NSGA-II (Deb et al. 2002): an evolving population, for several objectives."""

    kind: Literal["nsga2"] = "nsga2"
    population_size: Annotated[int, Field(ge=2)] = 16
    """Trials of a generation; fewer than Optuna's 50, since sweeps have tens of trials."""
    crossover_probability: Annotated[float, Field(ge=0, le=1)] = 0.9
    """How often a setting comes from two parents rather than one."""


SAMPLERS: dict[str, type[SpecModel]] = {
    "tpe": TpeSpec,
    "gp": GpSpec,
    "cma_es": CmaEsSpec,
    "random": RandomSpec,
    "quasi_random": QuasiRandomSpec,
    "grid": GridSpec,
    "nsga2": Nsga2Spec,
}
"""Every kind of sampler by its name."""

SINGLE_OBJECTIVE = ("cma_es",)
"""Kinds that can only follow one number."""


_AnySampler = Annotated[
    TpeSpec | GpSpec | CmaEsSpec | RandomSpec | QuasiRandomSpec | GridSpec | Nsga2Spec,
    Field(discriminator="kind"),
]
_SamplerName = Literal["tpe", "gp", "cma_es", "random", "quasi_random", "grid", "nsga2"]

SamplerSpec = Annotated[
    _AnySampler, BeforeValidator(as_kind, json_schema_input_type=_SamplerName | _AnySampler)
]
