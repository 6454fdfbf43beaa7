"""The methods by name. A new one is a module with a ``config`` function and a line here.

``config(spec, seed)`` returns the PEFT configuration that attaches the method's adapter.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

from . import droplora, lora

if TYPE_CHECKING:
    from collections.abc import Mapping

    from peft import LoraConfig

    from droplora_sweep.spec.trial import AdapterSpec


class MakeConfig(Protocol):
    """Makes the PEFT configuration of one method from an adapter's spec and the trial's seed."""

    def __call__(self, spec: AdapterSpec, seed: int) -> LoraConfig: ...


METHODS: Mapping[str, MakeConfig] = MappingProxyType(
    {
        "droplora": droplora.config,
        "lora": lora.config,
    }
)
