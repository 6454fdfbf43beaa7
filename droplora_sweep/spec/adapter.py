"""The adapter of one trial: the method, its rank, how the rank is pruned, what it starts from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticKnownError

from droplora_sweep.plugins import PluginError

from .base import Count, Positive, SpecModel, broken_rule
from .methods import SETTINGS, find_method, method_names, method_of

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class AdapterStart:
    """Another trial's adapter.

    Attributes:
        trial_id: The trial, of the same sweep.
        digest: sha256 of the adapter's manifest; part of the fingerprint of what starts from it.
    """

    trial_id: str
    digest: str


def _known(name: object) -> object:
    try:
        found = find_method(name) if isinstance(name, str) else None
    except PluginError as error:
        raise broken_rule(str(error)) from error
    if found is None:
        *others, last = map(repr, method_names())
        raise PydanticKnownError("literal_error", {"expected": f"{', '.join(others)} or {last}"})
    return name


def _list_methods(schema: dict[str, Any]) -> None:
    schema["enum"] = list(method_names())


MethodName = Annotated[str, BeforeValidator(_known), Field(json_schema_extra=_list_methods)]
Rate = Annotated[float, Field(ge=0, lt=1)]


class LoraDropSpec(SpecModel):
    """Choice of layers by ``method: lora_drop``; defaults from arXiv 2402.07721."""

    threshold: Annotated[float, Field(gt=0, le=1)] = 0.9
    """Share of each module kind's summed mean squared LoRA output that the kept layers reach."""
    sampling_share: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Share of the trial's optimiser steps that sample the outputs before layers are dropped."""


class AdapterSpec(SpecModel):
    """The adapter that is trained; defaults from arXiv 2508.17337, Table 7 (commonsense)."""

    method: MethodName = "droplora"
    """``droplora`` is the name of ``lora`` with a pruning rate: both take one and mean the same.

    ``dora`` (arXiv 2402.09353), ``pissa`` (2404.02948), ``milora`` (2406.09044), ``rslora``
    (2312.03732) and ``lora_drop`` (2402.07721) take one too; ``full`` is full fine-tuning. A
    package can bring others.
    """
    rank: Count = 32
    """Rank r of the update B A."""
    alpha: Positive | None = None
    """The update is scaled by alpha / rank, with ``rslora`` by alpha / sqrt(rank); null: the
    paper's (Table 7), which is the rank with ``pissa`` and ``milora``, else twice the rank."""
    pruning_rate: Rate = 0.0
    """Probability of dropping a rank dimension while training; 0 is the method unpruned."""
    module_pruning_rates: dict[str, Rate] = Field(default_factory=dict)
    """Pruning rate by target module, instead of ``pruning_rate``.

    A key is a layer's full name or its last parts; of several that match, the longest counts.
    """
    pruning_schedule: Literal["constant", "linear", "cosine"] = "constant"
    """The rate over the trial's steps: constant, or from 0 up to it, linearly or by half a cosine.
    """
    mask: Literal["token", "sample", "step", "learned"] = "token"
    """Unit that shares a mask: a token (the released code), a sequence, or a layer's step (Eq. 2).

    ``learned``: a trained gate keeps the best 1 - pruning_rate of the ranks, in evaluation too.
    """
    rescale: bool = True
    """Divide what is kept by 1 - pruning_rate (inverted dropout), as the released code does."""
    dropout: Rate = 0.05
    """Dropout on the adapter's input, as in LoRA."""
    target_modules: tuple[str, ...] = Field(
        default=("q_proj", "k_proj", "v_proj", "up_proj", "down_proj"), min_length=1, strict=False
    )
    """Names of the linear layers that get an adapter: full names or their last parts."""
    lora_drop: LoraDropSpec = LoraDropSpec()
    """Used by ``method: lora_drop`` alone."""

    @property
    def is_pruned(self) -> bool:
        """True where any rank dimension can be dropped; a full model has none."""
        rates = (self.pruning_rate, *self.module_pruning_rates.values())
        return method_of(self.method).has_rank and any(rate > 0 for rate in rates)

    def pruning_rate_of(self, module: str) -> float:
        """The pruning rate of one layer, by the longest key that names it.

        >>> spec = AdapterSpec(pruning_rate=0.5, module_pruning_rates={"q_proj": 0.0})
        >>> spec.pruning_rate_of("layers.0.q_proj"), spec.pruning_rate_of("layers.0.v_proj")
        (0.0, 0.5)
        """
        return rate_of(module, self.module_pruning_rates, self.pruning_rate)

    def with_alpha(self) -> AdapterSpec:
        """The same adapter with a number for alpha.

        >>> AdapterSpec(rank=16).with_alpha().alpha
        32.0
        """
        if self.alpha is not None:
            return self
        return self.model_copy(update={"alpha": paper_alpha(self.method, self.rank)})

    def canonical(self) -> AdapterSpec:
        """The same adapter with defaults wherever a field does not change the result.

        Two adapters that train alike have one canonical form, and so one fingerprint.
        """
        method = method_of(self.method)
        if not method.has_rank:
            return AdapterSpec(method=self.method).with_alpha()
        kept = {**self.with_alpha().model_dump(), "method": method.canonical_name}
        unused = {*SETTINGS} - {method.settings}
        if not self.is_pruned:
            unused |= {"module_pruning_rates", "pruning_schedule", "mask", "rescale"}
        return AdapterSpec.model_validate(
            {name: value for name, value in kept.items() if name not in unused}
        )


def paper_alpha(method: str, rank: int | float) -> float:
    """Return the alpha of this method and rank where a file gives none."""
    return float(method_of(method).alpha_per_rank * rank)


def rate_of(module: str, rates: Mapping[str, float], default: float) -> float:
    """The rate of the longest key that names the layer, else the default."""
    naming = [key for key in rates if names(key, module)]
    return rates[max(naming, key=len)] if naming else default


def names(name: str, module: str) -> bool:
    """PEFT's rule: a layer is named by its full name, or by its last part or parts."""
    return module == name or module.endswith(f".{name}")
