"""Models that trials have left, loaded as their users load them."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from droplora_sweep.adapters.adapted import saved_adapter, seeded
from droplora_sweep.models.loading import load_base_model, load_sharded_model
from droplora_sweep.spec.methods import method_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from torch import nn
    from transformers import PreTrainedModel

    from droplora_sweep.models.sharding import ShardedModel
    from droplora_sweep.spec.trial import TrialSpec

    from .reporting import InStep


@dataclass(frozen=True)
class Loaded:
    """A model as its users load it.

    Attributes:
        model: The model.
        in_step: Keeps ranks in step where it is split over them; None where it is the base model.
    """

    model: nn.Module
    in_step: InStep | None = None


@contextlib.contextmanager
def as_loaded_by_users(
    base: PreTrainedModel,
    spec: TrialSpec,
    folder: Path | None,
    sharded: ShardedModel | None = None,
) -> Iterator[Loaded]:
    """Yield what a trial left; the base model and torch's RNG are as before afterwards.

    Args:
        base: The trial's base model, without an adapter.
        spec: The trial.
        folder: Has what it left: a plain adapter, which is put onto the base model, or with a
            method that trains all weights a whole model; None yields the base model.
        sharded: The base model where it is split over ranks; a whole model is split too then.
    """
    if folder is None:
        yield Loaded(base)
    elif method_of(spec.adapter.method).has_rank:
        # PEFT draws values for the adapter before it reads them.
        with seeded(spec.seed, base.device), saved_adapter(base, folder) as adapted:
            yield Loaded(adapted)
    else:
        whole = spec.model.model_copy(update={"path": str(folder), "revision": None})
        if sharded is None:
            yield Loaded(load_base_model(whole, base.device))
            return
        split = load_sharded_model(whole, sharded.device, offload=sharded.offload)
        yield Loaded(split.model, split.in_step)
