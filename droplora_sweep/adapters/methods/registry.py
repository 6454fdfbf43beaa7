"""The methods by name. A new one is a module with an ``attach`` function and a line here.

Its name also goes into `AdapterSpec.method`, what it cannot be combined with into
`spec.composition`, and a row into the conformance tests.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

from . import dora, full, lora, lora_drop, milora, pissa, rslora

if TYPE_CHECKING:
    from collections.abc import Mapping

    from transformers import PreTrainedModel

    from droplora_sweep.adapters.adapted import Adapted
    from droplora_sweep.spec.adapter import AdapterSpec


class Attach(Protocol):
    """Puts one method's adapter on a base model; `Adapted` says what it must then do."""

    def __call__(self, base: PreTrainedModel, spec: AdapterSpec, seed: int) -> Adapted: ...


METHODS: Mapping[str, Attach] = MappingProxyType(
    {
        "lora": lora.attach,
        "droplora": lora.attach,
        "dora": dora.attach,
        "rslora": rslora.attach,
        "pissa": pissa.attach,
        "milora": milora.attach,
        "lora_drop": lora_drop.attach,
        "full": full.attach,
    }
)
