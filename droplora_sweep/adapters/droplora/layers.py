"""DropLoRA's configuration, and PEFT's LoRA layers with its masks and learned gates."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from peft import LoraConfig
from peft.import_utils import is_bnb_4bit_available, is_bnb_available
from peft.tuners.lora.layer import Linear as LoraLinear
from peft.tuners.lora.layer import LoraLayer, LoraVariant
from peft.tuners.lora.variants import DoraLinearVariant
from peft.utils.other import transpose
from torch import nn
from transformers.pytorch_utils import Conv1D

from droplora_sweep import private_api
from droplora_sweep.spec.adapter import rate_of

from .masks import SCHEDULES
from .variants import MaskedDora, MaskedLora

if TYPE_CHECKING:
    from peft import PeftModel

MASKS = ("token", "sample", "step", "learned")

# PEFT layers that do not know DropLoRA refuse a configuration in which such a field is set,
# where they would otherwise leave the layer unpruned without a word.
_VARIANT = {"is_lora_variant": True}


@dataclass
class DropLoraConfig(LoraConfig):
    """A `LoraConfig` with a mask on the rank dimension.

    Raises:
        ValueError: A pruning rate is outside [0, 1), or the mask or schedule is unknown.
    """

    pruning_rate: float = field(default=0.0, metadata=_VARIANT)
    """Probability of dropping a rank dimension while training; 0 is PEFT's LoRA itself."""
    module_pruning_rates: dict[str, float] = field(default_factory=dict, metadata=_VARIANT)
    """Rate of the layers a key names, in place of ``pruning_rate``; the longest key counts."""
    pruning_schedule: str = "constant"
    """Course of the rate over the trial: ``constant``, ``linear`` or ``cosine``."""
    mask: str = "token"
    """A new mask per ``token``, per ``sample`` (sequence), per layer and optimiser ``step``; or
    ``learned``: a trained gate chooses what is kept, after training too."""
    rescale: bool = True
    """Divide what is kept by 1 - pruning_rate."""
    mask_seed: int = 0
    """Seed of the ``step`` masks; ``token`` and ``sample`` masks come from torch's RNG."""

    def __post_init__(self) -> None:
        super().__post_init__()
        rates = {"pruning_rate": self.pruning_rate}
        rates |= {f"module_pruning_rates[{k!r}]": v for k, v in self.module_pruning_rates.items()}
        for name, rate in rates.items():
            if not 0 <= rate < 1:
                raise ValueError(f"`{name}` must be in [0, 1), got {rate}.")
        if self.mask not in MASKS:
            raise ValueError(f"`mask` must be one of {', '.join(MASKS)}, got {self.mask!r}.")
        if self.pruning_schedule not in SCHEDULES:
            problem = f"must be one of {', '.join(SCHEDULES)}, got {self.pruning_schedule!r}"
            raise ValueError(f"`pruning_schedule` {problem}.")
        private_api.register_lora_layers(self, PRUNABLE_LAYERS)

    @property
    def is_pruned(self) -> bool:
        """True where any layer can have a mask."""
        return self.pruning_rate > 0 or any(self.module_pruning_rates.values())

    def rate_of(self, layer: str) -> float:
        """Return the pruning rate that the layer of this name reaches."""
        return rate_of(layer, self.module_pruning_rates, self.pruning_rate)

    def unpruned(self) -> DropLoraConfig:
        """Return the same without pruning, which PEFT alone can do."""
        return dataclasses.replace(self, pruning_rate=0.0, module_pruning_rates={})

    def to_dict(self) -> dict[str, Any]:
        """Return the plain LoRA configuration, which any PEFT can load."""
        plain: dict[str, Any] = super().to_dict()
        return {name: value for name, value in plain.items() if name not in _OWN_FIELDS}


_OWN_FIELDS = frozenset(
    {own.name for own in dataclasses.fields(DropLoraConfig)}
    - {plain.name for plain in dataclasses.fields(LoraConfig)}
)
"""The fields that plain PEFT does not know; a saved configuration never holds them."""


_VARIANTS = {type(None): MaskedLora, DoraLinearVariant: MaskedDora}


# It is mixed into PEFT's layer classes, which have in common what `LoraLinear` has.
if TYPE_CHECKING:
    _Layer = LoraLinear
else:
    _Layer = LoraLayer


class PrunableLayer(_Layer):
    """Masks and gates of DropLoRA for a LoRA layer of PEFT, of any kind of base layer."""

    adapter_layer_names = (*LoraLayer.adapter_layer_names, "lora_gate")

    def __init__(
        self, base_layer: nn.Module, adapter_name: str, config: LoraConfig, **kwargs: Any
    ) -> None:
        self._target_name = kwargs["target_name"]
        super().__init__(base_layer, adapter_name, config=config, **kwargs)

    def update_layer(
        self, adapter_name: str, r: int, lora_alpha: int, config: LoraConfig, **kwargs: Any
    ) -> None:
        """Add an adapter to this layer, as PEFT does."""
        if not hasattr(self, "lora_gate"):
            self.lora_gate = nn.ParameterDict()
            self.register_state_dict_post_hook(_fold_gates)
        # Quantised layers of PEFT keep the name to themselves.
        kwargs.setdefault("target_name", self._target_name)
        super().update_layer(adapter_name, r, lora_alpha, config=config, **kwargs)

    def resolve_lora_variant(self, *, config: LoraConfig, **kwargs: Any) -> LoraVariant | None:
        """Return DropLoRA's variant for a pruned `DropLoraConfig`; PEFT's choice for every other.

        Overridden rather than listed in `lora_variants`, because PEFT looks for a listed
        variant's field in every configuration, also a plain one loaded onto this layer.

        Raises:
            ValueError: A pruning rate is combined with what there is no rule for.
        """
        if not isinstance(config, DropLoraConfig) or not config.is_pruned:
            return super().resolve_lora_variant(config=config, **kwargs)
        unmasked = super().resolve_lora_variant(config=config.unpruned(), **kwargs)
        masked = _VARIANTS.get(type(unmasked))
        if masked is None or config.lora_bias:
            what = "lora_bias" if masked else type(unmasked).__name__
            raise ValueError(f"`pruning_rate` must be 0 with {what}, got {config.pruning_rate}")
        return masked(config)

    def get_delta_weight(self, adapter: str) -> torch.Tensor:
        """Return scaling times B A, without what a learned mask has dropped."""
        variant = self.lora_variant.get(adapter)
        if not isinstance(variant, MaskedLora) or not variant.is_learned:
            delta: torch.Tensor = super().get_delta_weight(adapter)
            return delta
        A: Any = self.lora_A[adapter].weight
        B: Any = self.lora_B[adapter].weight
        with torch.no_grad():
            gated = (B * variant.gate(self, adapter)).float() @ A.float()
        scaled: torch.Tensor = gated.to(B.dtype) * self.scaling[adapter]
        return transpose(scaled, self.fan_in_fan_out)


def _fold_gates(
    module: nn.Module, state_dict: dict[str, Any], prefix: str, local_metadata: dict[str, Any]
) -> None:
    """Save B with what its learned mask drops set to zero, and no gate: a plain adapter."""
    assert isinstance(module, PrunableLayer)
    for adapter in module.lora_gate:
        del state_dict[f"{prefix}lora_gate.{adapter}"]
        name = f"{prefix}lora_B.{adapter}.weight"
        variant: Any = module.lora_variant[adapter]
        state_dict[name] = (state_dict[name] * variant.gate(module, adapter)).detach()


class PrunableLinear(PrunableLayer, LoraLinear):
    """LoRA on a linear layer in full precision."""


class PrunableConv1D(PrunableLinear):
    """LoRA on the transposed linear layer of GPT-2."""

    def __init__(
        self, base_layer: nn.Module, adapter_name: str, config: LoraConfig, **kwargs: Any
    ) -> None:
        config.fan_in_fan_out = True
        super().__init__(
            base_layer, adapter_name, config=config, is_target_conv_1d_layer=True, **kwargs
        )


PRUNABLE_LAYERS: dict[type[nn.Module], type[nn.Module]] = {}
"""Base layer class to the LoRA layer that wraps it; PEFT uses the first that fits."""

if is_bnb_available():
    import bitsandbytes as bnb
    from peft.tuners.lora.bnb import Linear8bitLt as LoraLinear8bit

    class PrunableLinear8bit(PrunableLayer, LoraLinear8bit):
        """LoRA on an 8-bit layer of bitsandbytes (LLM.int8)."""

    PRUNABLE_LAYERS[bnb.nn.Linear8bitLt] = PrunableLinear8bit

if is_bnb_4bit_available():
    from peft.tuners.lora.bnb import Linear4bit as LoraLinear4bit

    class PrunableLinear4bit(PrunableLayer, LoraLinear4bit):
        """LoRA on a 4-bit layer of bitsandbytes (NF4 or FP4), as in QLoRA."""

    PRUNABLE_LAYERS[bnb.nn.Linear4bit] = PrunableLinear4bit

PRUNABLE_LAYERS |= {Conv1D: PrunableConv1D, nn.Linear: PrunableLinear}


def _variants(model: nn.Module) -> list[tuple[str, LoraVariant | None]]:
    """Return the layer's name and the variant of each adapter of each LoRA layer."""
    return [
        (name, module.lora_variant.get(adapter))
        for name, module in model.named_modules()
        if isinstance(module, LoraLayer)
        for adapter in module.scaling
    ]


def set_step(model: nn.Module, step: int, num_steps: int | None = None) -> None:
    """Make ``step`` (0-based) the optimiser step whose masks and pruning rates the model uses.

    To be called before the first forward pass of every optimiser step; a model without masks is
    left alone.

    Args:
        model: Model with any number of adapters.
        step: 0-based.
        num_steps: Steps of the whole trial; needed by a pruning schedule that is not constant.

    Raises:
        ValueError: A schedule needs the number of steps.
    """
    for _, variant in _variants(model):
        if isinstance(variant, MaskedLora):
            variant.set_step(step, num_steps)


def fold_gates(model: PeftModel, adapter: str = "default") -> None:
    """Make an adapter with a learned mask a plain one that computes the same.

    B's dropped columns become zero and the gates go. To be done before what reads A and B past the
    gate, as PEFT's ``add_weighted_adapter`` does with ``linear`` and ``cat``; saving, merging and
    ``svd`` need it not. An adapter without gates is left alone.

    Args:
        model: Model with the adapter; not to be trained further with a mask.
        adapter: Name of the adapter.
    """
    for module in model.modules():
        if not isinstance(module, PrunableLayer) or adapter not in module.lora_gate:
            continue
        variant: Any = module.lora_variant[adapter]
        B: Any = module.lora_B[adapter].weight
        with torch.no_grad():
            B.mul_(variant.gate(module, adapter))
        del module.lora_gate[adapter]
        variant.leave_unpruned(module, adapter)
    config = model.peft_config[adapter]
    if isinstance(config, DropLoraConfig) and config.mask == "learned":
        model.peft_config[adapter] = config.unpruned()


def unmasked_layers(model: nn.Module, config: DropLoraConfig) -> list[str]:
    """Return the LoRA layers that should have a mask and are of a kind that cannot."""
    return [
        name
        for name, variant in _variants(model)
        if not isinstance(variant, MaskedLora) and config.rate_of(name) > 0
    ]
