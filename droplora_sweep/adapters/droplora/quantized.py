"""PEFT's LoRA layers over bitsandbytes' 8-bit and 4-bit layers (QLoRA), with DropLoRA's masks.

Needs bitsandbytes, which the extra ``quantization`` installs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import bitsandbytes as bnb
from peft.tuners.lora.bnb import Linear8bitLt as LoraLinear8bit

from .layers import PrunableLayer

if TYPE_CHECKING:
    from torch import nn


class PrunableLinear8bit(PrunableLayer, LoraLinear8bit):
    """LoRA on an 8-bit layer (LLM.int8)."""


def quantized_layers(*, with_4bit: bool) -> dict[type[nn.Module], type[nn.Module]]:
    """The layers of bitsandbytes that this installation has, and what wraps them."""
    layers: dict[type[nn.Module], type[nn.Module]] = {bnb.nn.Linear8bitLt: PrunableLinear8bit}
    if with_4bit:
        from peft.tuners.lora.bnb import Linear4bit as LoraLinear4bit

        class PrunableLinear4bit(PrunableLayer, LoraLinear4bit):
            """LoRA on a 4-bit layer (NF4 or FP4)."""

        layers[bnb.nn.Linear4bit] = PrunableLinear4bit
    return layers
