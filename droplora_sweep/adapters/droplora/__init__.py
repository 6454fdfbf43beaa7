"""DropLoRA as a PEFT extension: LoRA with a mask on the rank dimension while training.

``y = W x + (alpha / r) B (m * A x)`` with A of shape (r, in), B of shape (out, r), W frozen and
m the mask of `masks` (arXiv 2508.17337, Eq. 2). What is trained is saved as an ordinary LoRA
adapter, and where nothing is pruned PEFT's own forward pass runs.

PEFT's extension points used here, all marked experimental in 0.21: registered custom modules
(see `private_api`), `LoraLayer.resolve_lora_variant` and `LoraVariant`.
"""

from .layers import DropLoraConfig, fold_gates, set_step, unmasked_layers

__all__ = ["DropLoraConfig", "fold_gates", "set_step", "unmasked_layers"]
