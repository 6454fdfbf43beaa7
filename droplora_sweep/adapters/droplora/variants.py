"""Masked forward passes of one layer's adapter: of LoRA, and of DoRA."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import torch
from peft.tuners.lora.layer import LoraVariant
from peft.tuners.lora.variants import DoraLinearVariant
from peft.utils.integrations import dequantize_module_weight
from peft.utils.other import transpose
from torch import nn

from droplora_sweep import private_api

from .masks import draw_kept_ranks, dropped, gather, kept_update, learned_mask, rate_at

if TYPE_CHECKING:
    from .masks import KeptSlices


class Masking(Protocol):
    """The fields of `DropLoraConfig` that a masked forward pass reads."""

    mask: str
    rescale: bool
    pruning_schedule: str
    mask_seed: int

    def rate_of(self, layer: str) -> float:
        """Return the pruning rate that the layer of this name reaches."""
        ...


class MaskedLora(LoraVariant):
    """LoRA with a mask: ``result + scaling * B(mask * A(dropout(x)))`` while training.

    PEFT declares a variant's methods static and calls them on one instance per layer and adapter;
    they are instance methods here, because the instance holds the layer's mask.
    """

    def __init__(self, config: Masking) -> None:
        self.mask = config.mask
        self.rescale = config.rescale
        self.layer_name = ""
        self.pruning_rate = 0.0
        """Rate of the current step."""
        self._config = config
        self._step = 0
        self._slices: tuple[tuple[Any, ...], KeptSlices] | None = None

    @property
    def is_learned(self) -> bool:
        """True where the mask stays after training."""
        return self.mask == "learned"

    def init(  # type: ignore[override]
        self, module: Any, adapter_name: str, **kwargs: Any
    ) -> None:
        """Note the layer's name, which its rate and its ``step`` masks depend on."""
        self.layer_name = kwargs["target_name"]
        self.pruning_rate = self._config.rate_of(self.layer_name)
        if self.pruning_rate == 0:
            self.leave_unpruned(module, adapter_name)
        elif self.is_learned:
            weight = module.lora_A[adapter_name].weight
            module.lora_gate[adapter_name] = nn.Parameter(weight.new_zeros(weight.shape[0]))

    def set_step(self, step: int, num_steps: int | None) -> None:
        """Make ``step`` the optimiser step whose mask the next forward passes use.

        Raises:
            ValueError: The rate follows a schedule, and the number of steps is not given.
        """
        schedule = self._config.pruning_schedule
        if num_steps is None and schedule != "constant":
            raise ValueError(f"`num_steps` must be given with `pruning_schedule: {schedule}`.")
        rate = self._config.rate_of(self.layer_name)
        self.pruning_rate = rate_at(step, num_steps or 1, rate, schedule)
        self._step = step
        self._slices = None

    def forward(  # type: ignore[override]
        self,
        module: Any,
        active_adapter: str,
        x: torch.Tensor,
        result: torch.Tensor,
        **kwargs: Any,
    ) -> torch.Tensor:
        """Return the layer's output with the adapter's update.

        Args:
            module: Layer with A, B, dropout and scaling.
            active_adapter: Name of one of its adapters.
            x: Input of the layer (batch, tokens, in).
            result: Output of the frozen layer (batch, tokens, out).
            **kwargs: Arguments that PEFT hands to every variant; unused.
        """
        x = module.lora_dropout[active_adapter](x)
        return self.add_update(module, active_adapter, x, result)

    def add_update(
        self, module: Any, adapter: str, x: torch.Tensor, base: torch.Tensor | None
    ) -> torch.Tensor:
        """Add the scaled and masked update for ``x`` to ``base``; return it alone for None."""
        A, B = module.lora_A[adapter], module.lora_B[adapter]
        scaling = module.scaling[adapter]
        if self.mask == "step" and module.training:
            return _added(base, kept_update, x, A, B, self._kept_slices(A, B, scaling))
        hidden = A(x)
        if self.is_learned:
            hidden = hidden * (self.gate(module, adapter) * scaling)
        elif module.training:
            hidden = dropped(hidden * self._factor(scaling), self.mask, self.pruning_rate)
        else:
            update = B(hidden) * scaling
            return update if base is None else base + update
        return _added(base, _product, hidden, B)

    def gate(self, module: Any, adapter: str) -> torch.Tensor:
        """Return mask_R of the ``learned`` mask, with the gates' gradient."""
        return learned_mask(module.lora_gate[adapter], self.pruning_rate, self.rescale)

    def merge_safe(  # type: ignore[override]
        self, module: Any, active_adapter: str, orig_weight: torch.Tensor
    ) -> torch.Tensor:
        """Return a new weight with the update added."""
        self._refuse_to_merge_a_moving_mask(module)
        return orig_weight + module.get_delta_weight(active_adapter).to(orig_weight.dtype)

    def merge_unsafe(  # type: ignore[override]
        self, module: Any, active_adapter: str, orig_weight: torch.Tensor
    ) -> None:
        """Add the update to the weight in place."""
        self._refuse_to_merge_a_moving_mask(module)
        orig_weight.data += module.get_delta_weight(active_adapter)

    def unmerge(  # type: ignore[override]
        self, module: Any, active_adapter: str, orig_weight: torch.Tensor
    ) -> torch.Tensor:
        """Return the weight without the update."""
        return orig_weight.data - module.get_delta_weight(active_adapter).to(orig_weight.dtype)

    def leave_unpruned(self, module: Any, adapter_name: str) -> None:
        """Let PEFT's own forward pass run on this layer."""
        del module.lora_variant[adapter_name]

    def _refuse_to_merge_a_moving_mask(self, module: Any) -> None:
        if self.is_learned and module.training:
            raise ValueError(
                "a learned mask must not be merged while it trains: call `eval()` first, "
                f"got a layer in training mode, {self.layer_name}"
            )

    @torch.compiler.disable
    def _kept_slices(self, A: nn.Linear, B: nn.Linear, scaling: float) -> KeptSlices:
        """Return copies of what this step keeps, made once for all its micro-batches.

        The weights' versions are part of the key for callers that train without `set_step`.
        """
        weights = (A.weight, B.weight)
        key = (scaling, *((w.data_ptr(), w.dtype, private_api.weight_version(w)) for w in weights))
        if self._slices is None or self._slices[0] != key:
            rank = A.weight.shape[0]
            kept = draw_kept_ranks(
                self._config.mask_seed, self.layer_name, self._step, rank, self.pruning_rate
            )
            self._slices = (key, gather(A.weight, B.weight, kept, self._factor(scaling)))
        return self._slices[1]

    def _factor(self, scaling: float) -> float:
        """Return the factor of the kept ranks of a random mask."""
        return scaling / (1 - self.pruning_rate) if self.rescale else scaling


class MaskedDora(MaskedLora):
    """DoRA (arXiv 2402.09353) with a mask on the rank dimension of its direction's update.

    ``(m / n) (W x + scaling * B(mask * A x))`` with the magnitude m and ``n = ||W + scaling B A||``
    per output, a constant for the gradient as in PEFT. The norm is that of the *unmasked* weight:
    a mask is noise on the update, not on what the weights are; a learned mask, which stays, counts.
    """

    def init(  # type: ignore[override]
        self, module: Any, adapter_name: str, **kwargs: Any
    ) -> None:
        DoraLinearVariant.init(module, adapter_name=adapter_name, **kwargs)
        super().init(module, adapter_name, **kwargs)

    def forward(  # type: ignore[override]
        self,
        module: Any,
        active_adapter: str,
        x: torch.Tensor,
        result: torch.Tensor,
        **kwargs: Any,
    ) -> torch.Tensor:
        if not module.training and not self.is_learned:
            return DoraLinearVariant.forward(module, active_adapter, x, result)
        base_layer = module.get_base_layer()
        weight = dequantize_module_weight(base_layer).to(x.dtype)
        dropout = module.lora_dropout[active_adapter]
        if isinstance(dropout, nn.Identity) or not module.training:
            base = result if base_layer.bias is None else result - base_layer.bias
        else:
            x = dropout(x)
            base = nn.functional.linear(x, transpose(weight, module.fan_in_fan_out))
        update = self.add_update(module, active_adapter, x, None)

        dora = module.lora_magnitude_vector[active_adapter]
        with torch.no_grad():
            delta = transpose(module.get_delta_weight(active_adapter), module.fan_in_fan_out)
            norm = dora.get_weight_norm(weight, delta, scaling=1)
        magnitude = dora.weight / norm
        return result + (magnitude - 1) * base + magnitude * update

    def merge_safe(  # type: ignore[override]
        self, module: Any, active_adapter: str, orig_weight: torch.Tensor
    ) -> torch.Tensor:
        self._refuse_to_merge_a_moving_mask(module)
        merged: torch.Tensor = DoraLinearVariant.merge_safe(module, active_adapter, orig_weight)
        return merged

    def merge_unsafe(  # type: ignore[override]
        self, module: Any, active_adapter: str, orig_weight: torch.Tensor
    ) -> None:
        self._refuse_to_merge_a_moving_mask(module)
        DoraLinearVariant.merge_unsafe(module, active_adapter, orig_weight)

    def unmerge(  # type: ignore[override]
        self, module: Any, active_adapter: str, orig_weight: torch.Tensor
    ) -> torch.Tensor:
        weight: torch.Tensor = DoraLinearVariant.unmerge(module, active_adapter, orig_weight)
        return weight

    def leave_unpruned(self, module: Any, adapter_name: str) -> None:
        module.lora_variant[adapter_name] = DoraLinearVariant()


def _added(base: torch.Tensor | None, product: Any, x: torch.Tensor, *rest: Any) -> torch.Tensor:
    """Add a product to ``base``, in one pass where their precisions agree."""
    if base is None or base.dtype != x.dtype:
        update: torch.Tensor = product(None, x, *rest)
        return update if base is None else base + update
    added: torch.Tensor = product(base, x, *rest)
    return added


def _product(base: torch.Tensor | None, hidden: torch.Tensor, B: nn.Linear) -> torch.Tensor:
    """Return ``base + B hidden``."""
    if base is None:
        return nn.functional.linear(hidden, B.weight)
    flat = torch.addmm(base.flatten(0, -2), hidden.flatten(0, -2), B.weight.T)
    return flat.view_as(base)
