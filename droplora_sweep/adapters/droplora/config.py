"""DropLoRA as a PEFT extension: LoRA with a random mask on the rank dimension while training.

``y = W x + (alpha / r) B (m * A x)`` with A of shape (r, in), B of shape (out, r), W frozen and
m the mask of `masks` (arXiv 2508.17337, Eq. 2). There is no mask outside training, so what is
trained is an ordinary LoRA adapter: `DropLoraConfig.to_dict` is a plain LoRA configuration, and
with ``pruning_rate=0`` PEFT's own forward pass runs.

PEFT's extension points used here, all marked experimental in 0.21: a registered custom module
(`LoraConfig._register_custom_module`), `LoraLayer.resolve_lora_variant` and `LoraVariant`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from peft import LoraConfig
from peft.tuners.lora.layer import Linear as LoraLinear
from peft.tuners.lora.layer import LoraLayer, LoraVariant
from torch import nn

from .lora import lora_arguments
from .masks import draw_step_mask, drop_per_token

if TYPE_CHECKING:
    import torch

    from droplora_sweep.spec.trial import AdapterSpec

# The fields that plain PEFT does not know; a saved configuration never holds them.
_OWN_FIELDS = ("pruning_rate", "mask", "rescale", "mask_seed")


@dataclass
class DropLoraConfig(LoraConfig):
    """A `LoraConfig` with a mask on the rank dimension.

    Raises:
        ValueError: The pruning rate is outside [0, 1), or the mask's name is unknown.
    """

    pruning_rate: float = 0.0
    """Probability of dropping a rank dimension while training; 0 is PEFT's LoRA itself."""
    mask: str = "token"
    """``token``: a new mask for every token. ``step``: one per layer and optimiser step."""
    rescale: bool = True
    """Divide what is kept by 1 - pruning_rate."""
    mask_seed: int = 0
    """Seed of the ``step`` masks; ``token`` masks come from torch's RNG, as dropout does."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.pruning_rate < 1:
            raise ValueError(f"`pruning_rate` must be in [0, 1), got {self.pruning_rate}.")
        if self.mask not in ("token", "step"):
            raise ValueError(f"`mask` must be 'token' or 'step', got {self.mask!r}.")
        self._register_custom_module({nn.Linear: DropLoraLinear})

    def to_dict(self) -> dict[str, Any]:
        """The plain LoRA configuration: what PEFT saves, and what any PEFT can load."""
        plain: dict[str, Any] = super().to_dict()
        for name in _OWN_FIELDS:
            del plain[name]
        return plain


class DropLoraVariant(LoraVariant):
    """The masked forward pass of one layer's adapter; merging is that of plain LoRA.

    PEFT declares these methods static and calls them on one instance per layer and adapter;
    they are instance methods here, because the instance holds the layer's mask.
    """

    def __init__(self, config: DropLoraConfig) -> None:
        self.pruning_rate = config.pruning_rate
        self.mask = config.mask
        self.rescale = config.rescale
        self.mask_seed = config.mask_seed
        self.layer_name = ""
        self._step = 0
        self._step_mask_R: torch.Tensor | None = None

    def set_step(self, step: int) -> None:
        """Make ``step`` the optimiser step whose mask the next forward passes use."""
        if step != self._step:
            self._step = step
            self._step_mask_R = None

    def init(  # type: ignore[override]
        self, module: LoraLayer, adapter_name: str, **kwargs: Any
    ) -> None:
        """Note the layer's name, which its ``step`` masks are drawn from."""
        self.layer_name = kwargs["target_name"]

    def forward(  # type: ignore[override]
        self,
        module: LoraLinear,
        active_adapter: str,
        x: torch.Tensor,
        result: torch.Tensor,
        **kwargs: Any,
    ) -> torch.Tensor:
        """``result + scaling * B(mask * A(dropout(x)))``, the mask only while training.

        Args:
            module: The layer that holds A, B, dropout and scaling.
            active_adapter: Which of its adapters.
            x: Input of the layer (batch, tokens, in).
            result: Output of the frozen layer (batch, tokens, out).
            **kwargs: What PEFT hands to every variant; unused.
        """
        hidden_BTR = module.lora_A[active_adapter](module.lora_dropout[active_adapter](x))
        if module.training:
            hidden_BTR = self._masked(hidden_BTR)
        update: torch.Tensor = module.lora_B[active_adapter](hidden_BTR)
        update = update * module.scaling[active_adapter]
        return result + update

    def _masked(self, hidden_BTR: torch.Tensor) -> torch.Tensor:
        if self.mask == "token":
            return drop_per_token(hidden_BTR, self.pruning_rate, self.rescale)
        if self._step_mask_R is None:
            mask_R = draw_step_mask(
                self.mask_seed,
                self.layer_name,
                self._step,
                hidden_BTR.shape[-1],
                self.pruning_rate,
                self.rescale,
            )
            self._step_mask_R = mask_R.to(hidden_BTR)
        return hidden_BTR * self._step_mask_R

    def merge_safe(  # type: ignore[override]
        self, module: LoraLinear, active_adapter: str, orig_weight: torch.Tensor
    ) -> torch.Tensor:
        """A new weight with the update added."""
        return orig_weight + self._update(module, active_adapter).to(orig_weight.dtype)

    def merge_unsafe(  # type: ignore[override]
        self, module: LoraLinear, active_adapter: str, orig_weight: torch.Tensor
    ) -> None:
        """Add the update to the weight in place."""
        orig_weight.data += self._update(module, active_adapter)

    def unmerge(  # type: ignore[override]
        self, module: LoraLinear, active_adapter: str, orig_weight: torch.Tensor
    ) -> torch.Tensor:
        """The weight without the update."""
        return orig_weight.data - self._update(module, active_adapter).to(orig_weight.dtype)

    @staticmethod
    def _update(module: LoraLinear, active_adapter: str) -> torch.Tensor:
        return module.get_delta_weight(active_adapter)


class DropLoraLinear(LoraLinear):
    """PEFT's LoRA layer, which also knows DropLoRA's variant."""

    def resolve_lora_variant(self, *, config: LoraConfig, **kwargs: Any) -> LoraVariant | None:
        """DropLoRA's variant for a pruned `DropLoraConfig`; PEFT's choice for every other.

        Overridden rather than listed in `lora_variants`, because PEFT looks for a listed
        variant's field in every configuration, also a plain one loaded onto this layer.

        Raises:
            ValueError: A pruning rate is combined with a LoRA variant it has no rule for.
        """
        variant = super().resolve_lora_variant(config=config, **kwargs)
        if not isinstance(config, DropLoraConfig) or config.pruning_rate == 0:
            return variant
        if variant is not None:
            raise ValueError(
                f"`pruning_rate` must be 0 with {type(variant).__name__}, got {config.pruning_rate}"
            )
        return DropLoraVariant(config)


def _variants(model: nn.Module) -> list[tuple[str, LoraVariant | None]]:
    """Each adapter of each LoRA layer: the layer's name and its variant."""
    return [
        (name, module.lora_variant.get(adapter))
        for name, module in model.named_modules()
        if isinstance(module, LoraLayer)
        for adapter in module.scaling
    ]


def set_step(model: nn.Module, step: int) -> None:
    """Make ``step`` (0-based) the optimiser step whose ``step`` masks the model uses.

    To be called before the first forward pass of every optimiser step; a model without such
    masks is left alone.
    """
    for _, variant in _variants(model):
        if isinstance(variant, DropLoraVariant):
            variant.set_step(step)


def unmasked_layers(model: nn.Module) -> list[str]:
    """LoRA layers that DropLoRA's mask does not reach: not an ``nn.Linear``, so not pruned."""
    return [name for name, variant in _variants(model) if not isinstance(variant, DropLoraVariant)]


def config(spec: AdapterSpec, seed: int) -> DropLoraConfig:
    """The configuration of ``method: droplora``."""
    return DropLoraConfig(
        **lora_arguments(spec),
        pruning_rate=spec.pruning_rate,
        mask=spec.mask,
        rescale=spec.rescale,
        mask_seed=seed,
    )
