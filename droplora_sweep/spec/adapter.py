"""The adapter of one trial: the method, its rank, how the rank is pruned, what it starts from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from .base import Count, Positive, SpecModel

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


PAPER_ALPHA_PER_RANK = {"pissa": 1, "milora": 1}
"""Alpha by rank in arXiv 2508.17337, Table 7; 2 of every method that is not named."""

Rate = Annotated[float, Field(ge=0, lt=1)]


class LoraDropSpec(SpecModel):
    """How ``method: lora_drop`` chooses layers; defaults from arXiv 2402.07721."""

    threshold: Annotated[float, Field(gt=0, le=1)] = 0.9
    """Share of each module kind's summed mean squared LoRA output that the kept layers reach."""
    sampling_share: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Share of the trial's optimiser steps that sample the outputs before layers are dropped."""


class AdapterSpec(SpecModel):
    """The adapter that is trained; defaults from arXiv 2508.17337, Table 7 (commonsense)."""

    method: Literal[
        "droplora", "lora", "dora", "pissa", "milora", "rslora", "lora_drop", "full"
    ] = "droplora"
    """``droplora`` is the name of ``lora`` with a pruning rate: both take one and mean the same.

    ``dora`` (arXiv 2402.09353), ``pissa`` (2404.02948), ``milora`` (2406.09044), ``rslora``
    (2312.03732) and ``lora_drop`` (2402.07721) take one too; ``full`` is full fine-tuning.
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
    """What shares a mask: a token (the released code), a sequence, or a layer's step (Eq. 2).

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
        """Whether any rank dimension can be dropped; a full model has none."""
        rates = (self.pruning_rate, *self.module_pruning_rates.values())
        return self.method != "full" and any(rate > 0 for rate in rates)

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
        if self.method == "full":
            return AdapterSpec(method="full").with_alpha()
        kept = self.with_alpha().model_dump()
        if self.method == "droplora":
            kept["method"] = "lora"
        unused = [] if self.method == "lora_drop" else ["lora_drop"]
        if not self.is_pruned:
            unused += ["module_pruning_rates", "pruning_schedule", "mask", "rescale"]
        return AdapterSpec.model_validate(
            {name: value for name, value in kept.items() if name not in unused}
        )


def paper_alpha(method: str, rank: int | float) -> float:
    """Alpha of this method and rank in arXiv 2508.17337, Table 7; of others, LoRA's."""
    return float(PAPER_ALPHA_PER_RANK.get(method, 2) * rank)


def rate_of(module: str, rates: Mapping[str, float], default: float) -> float:
    """The rate of the longest key that names the layer, else the default."""
    naming = [key for key in rates if names(key, module)]
    return rates[max(naming, key=len)] if naming else default


def names(name: str, module: str) -> bool:
    """PEFT's rule: a layer is named by its full name, or by its last part or parts."""
    return module == name or module.endswith(f".{name}")
