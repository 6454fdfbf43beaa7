"""The middle of a LoRA-drop trial: measure each layer's LoRA output, and drop layers by it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.distributed as dist

if TYPE_CHECKING:
    from droplora_sweep.adapters import LoraDrop

    from .engine import Engine
    from .loop import Loop


def drop_layers(adapted: LoraDrop, loop: Loop, engine: Engine, num_steps: int) -> None:
    """Measure on the examples of the first steps, which the trial has trained on; a collective.

    Every rank measures its own examples, the sums are added up, and all drop the same layers. The
    optimiser starts afresh, since some of its weights are gone; the learning rate goes on.

    Raises:
        TrialError: No layer has any output; on every rank.
    """
    adapted.model.eval()
    with torch.no_grad(), adapted.measured() as meter:
        for inputs, counted in loop.inputs(num_steps):
            meter.counted_BT = counted
            # The head's logits are not needed; those of one position are the fewest there are.
            adapted.model(input_ids=inputs, logits_to_keep=1, use_cache=False)
    dist.all_reduce(meter.sum_L2)
    with engine.reopened():
        adapted.drop_layers(meter.sum_L2)
