"""When a trial is stopped before its end: one rule with its options; baselines never are."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from .base import Count, SpecModel, as_kind


class AshaSpec(SpecModel):
    """Asynchronous successive halving over a trial's evaluations (arXiv 1810.05934)."""

    kind: Literal["asha"] = "asha"
    grace_evaluations: Count = 1
    """A trial is never stopped before this many evaluations."""
    reduction_factor: Annotated[int, Field(ge=2)] = 3
    """At each rung the best 1 / reduction_factor of the trials go on."""


class HyperbandSpec(SpecModel):
    """Hyperband (arXiv 1603.06560) as brackets of asynchronous successive halving.

    Bracket ``s`` stops nobody before ``grace_evaluations * reduction_factor ** s`` evaluations.
    Trials go to brackets by their numbers, in the shares that give each bracket the same training.
    """

    kind: Literal["hyperband"] = "hyperband"
    grace_evaluations: Count = 1
    """A trial of the first bracket is never stopped before this many evaluations."""
    reduction_factor: Annotated[int, Field(ge=2)] = 3
    """At each rung of a bracket the best 1 / reduction_factor of its trials go on."""


class MedianSpec(SpecModel):
    """Stops a trial whose best score so far is below the median of the others' running means.

    The rule of Google Vizier (Golovin et al. 2017), at the same evaluation.
    """

    kind: Literal["median"] = "median"
    grace_evaluations: Count = 1
    """A trial is never stopped before this many evaluations."""
    min_trials: Count = 3
    """So many other trials must have reached the evaluation."""


class HopelessSpec(SpecModel):
    """Stops a trial that is behind the best so far by more than chance explains.

    At the same evaluation, the 95 % interval of its difference to the best must lie below 0,
    paired by examples; where they cannot be paired, its own interval must lie below the best's.
    The best of several is ahead by luck too: of ten equal trials, about a quarter are stopped at
    one of four evaluations (simulated, 200 examples). That saves time and decides nothing.
    """

    kind: Literal["hopeless"] = "hopeless"
    grace_evaluations: Count = 1
    """A trial is never stopped before this many evaluations."""


class NoStoppingSpec(SpecModel):
    """Every trial runs to its end."""

    kind: Literal["none"] = "none"


STOPPING_RULES: dict[str, type[SpecModel]] = {
    "asha": AshaSpec,
    "hyperband": HyperbandSpec,
    "median": MedianSpec,
    "hopeless": HopelessSpec,
    "none": NoStoppingSpec,
}
"""Every kind of rule by its name."""

_AnyRule = Annotated[
    AshaSpec | HyperbandSpec | MedianSpec | HopelessSpec | NoStoppingSpec,
    Field(discriminator="kind"),
]
_RuleName = Literal["asha", "hyperband", "median", "hopeless", "none"]

StoppingSpec = Annotated[
    _AnyRule, BeforeValidator(as_kind, json_schema_input_type=_RuleName | _AnyRule)
]
