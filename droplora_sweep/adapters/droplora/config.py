"""The configuration of a DropLoRA adapter."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from peft import LoraConfig

from droplora_sweep.spec.adapter import rate_of

from .schedule import SCHEDULES

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
    """How the rate is reached over the trial: ``constant``, ``linear`` or ``cosine``."""
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
        # Here, because the layers need this class.
        from .layers import prunable_layers

        self._register_custom_module(prunable_layers())

    @property
    def is_pruned(self) -> bool:
        """Whether any layer can have a mask."""
        return self.pruning_rate > 0 or any(self.module_pruning_rates.values())

    def rate_of(self, layer: str) -> float:
        """The pruning rate that the layer of this name reaches."""
        return rate_of(layer, self.module_pruning_rates, self.pruning_rate)

    def unpruned(self) -> DropLoraConfig:
        """The same without pruning: what PEFT alone would do."""
        return dataclasses.replace(self, pruning_rate=0.0, module_pruning_rates={})

    def to_dict(self) -> dict[str, Any]:
        """The plain LoRA configuration: what PEFT saves, and what any PEFT can load."""
        plain: dict[str, Any] = super().to_dict()
        return {name: value for name, value in plain.items() if name not in _OWN_FIELDS}


_OWN_FIELDS = frozenset(
    {own.name for own in dataclasses.fields(DropLoraConfig)}
    - {plain.name for plain in dataclasses.fields(LoraConfig)}
)
"""The fields that plain PEFT does not know; a saved configuration never holds them."""
