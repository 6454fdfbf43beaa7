"""The adapter of one trial: the method, its rank, how the rank is pruned, what it starts from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticKnownError

from droplora_sweep.plugins import PluginError

from .base import Count, Positive, SpecModel, broken_rule
from .methods import SETTINGS, find_method, method_names, method_of
from .targets import (
    ALL_LAYERS,
    is_chosen,
    is_within,
    longest_key,
    read_layers,
    read_targets,
)

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
Targets = Annotated[
    tuple[str, ...] | str,
    BeforeValidator(
        read_targets, json_schema_input_type=Annotated[list[str], Field(min_length=1)] | str
    ),
]
Layers = Annotated[
    tuple[int, ...] | str,
    BeforeValidator(
        read_layers, json_schema_input_type=Annotated[list[int], Field(min_length=1)] | int | str
    ),
]


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
    target_modules: Targets = ("q_proj", "k_proj", "v_proj", "up_proj", "down_proj")
    """Linear layers that get an adapter: a list of full names or their last parts; ``all-linear``,
    all but the output layer; or a regular expression that a full name has to match, of linear
    layers alone."""
    layers: Layers = ALL_LAYERS
    """Layers of the stack that are adapted, of those targets: ``all``, or their numbers from 0 on,
    as ``[0, 1]`` or ``0-7``. A target that is named in full is adapted in any case, as in PEFT."""
    module_ranks: dict[str, Count] = Field(default_factory=dict)
    """Rank by target module, instead of ``rank``; keys as in ``module_pruning_rates``."""
    module_alphas: dict[str, Positive] = Field(default_factory=dict)
    """Alpha by target module; keys as in ``module_pruning_rates``. Elsewhere alpha / rank is that
    of ``alpha`` and ``rank`` in every layer, whatever its rank."""
    modules_to_save: tuple[str, ...] = Field(default=(), strict=False)
    """Modules that are trained whole beside the adapter and saved with it, e.g. ``lm_head``: full
    names or their last parts. None of them gets an adapter, or shares its weight."""
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

    def is_target(self, module: str) -> bool:
        """Return True where a layer, if it is linear, gets an adapter.

        >>> AdapterSpec(layers="8-11").is_target("model.layers.7.self_attn.q_proj")
        False
        """
        return is_chosen(module, self.target_modules, self.layers) and not self.is_saved(module)

    def is_saved(self, module: str) -> bool:
        """Return True where a module is trained whole, or is part of one that is."""
        return any(is_within(name, module) for name in self.modules_to_save)

    def rank_of(self, module: str) -> int:
        """Return the rank of one layer, by the longest key that names it."""
        key = longest_key(self.module_ranks, module)
        return self.rank if key is None else self.module_ranks[key]

    def alpha_of(self, module: str) -> float:
        """Return the alpha of one layer, by the longest key that names it, else by its rank.

        >>> spec = AdapterSpec(rank=32, alpha=64, module_ranks={"q_proj": 8})
        >>> spec.alpha_of("layers.0.q_proj"), spec.alpha_of("layers.0.v_proj")
        (16.0, 64.0)
        """
        key = longest_key(self.module_alphas, module)
        if key is not None:
            return self.module_alphas[key]
        alpha = self.with_alpha().alpha
        assert alpha is not None, "with_alpha gives one"
        return alpha * self.rank_of(module) / self.rank

    @property
    def max_rank(self) -> int:
        """The highest rank that a layer may have."""
        return max(self.rank, *self.module_ranks.values()) if self.module_ranks else self.rank

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
    key = longest_key(rates, module)
    return default if key is None else rates[key]
