"""PiSSA and MiLoRA: the adapter starts as a part of the weight's own decomposition.

``W = W_res + scaling * B0 A0`` with B0 A0 made of some of W's singular triples; the base model
holds W_res while the trial trains. What is saved is a plain adapter for the *original* base, of
twice the rank: ``B A - B0 A0 = [B, -B0] [A; A0]`` (the conversion PEFT has for PiSSA).
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from peft.utils.other import transpose

from droplora_sweep.adapters.adapted import (
    ADAPTER,
    PREFIX,
    PeftAdapted,
    lora_layers,
    refuse_quantised,
)
from droplora_sweep.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import nn
    from transformers import PreTrainedModel

    from droplora_sweep.spec.adapter import AdapterSpec


@dataclass(frozen=True)
class _Triples:
    """Some singular triples of a weight, largest first.

    Attributes:
        U_OK: Left singular vectors.
        S_K: Singular values.
        V_KI: Right singular vectors, as rows.
    """

    U_OK: torch.Tensor
    S_K: torch.Tensor
    V_KI: torch.Tensor


# A decomposition takes seconds per large layer, and every trial of a sweep starts from the same
# weights: the triples of a base model's first trial are kept, on the CPU, as long as the model.
_CACHE: weakref.WeakKeyDictionary[nn.Module, dict[bool, _Triples]] = weakref.WeakKeyDictionary()


class Decomposed(PeftAdapted):
    """An adapter that starts from singular triples of the base model's weights.

    Args:
        base: Frozen base model, whose weights are W_res until `detach`.
        spec: The adapter.
        seed: The trial's seed.

    Attributes:
        principal: True where it starts from the largest singular values, False from the smallest.

    Raises:
        InputError: As `PeftAdapted`; or the rank is above a layer's smallest dimension, the base
            model is quantised, or a target is the embeddings or shares its weight with them.
    """

    principal: ClassVar[bool]

    def __init__(self, base: PreTrainedModel, spec: AdapterSpec, seed: int) -> None:
        self._originals: list[tuple[Any, torch.Tensor]] = []
        self._start: dict[str, torch.Tensor] = {}
        refuse_quantised(base, spec.method)
        super().__init__(base, spec, seed)
        try:
            for name, layer in lora_layers(self.peft_model).items():
                _refuse_embeddings(base, name, layer, spec.method)
                self._decompose(name, layer)
        except InputError:
            self.detach()
            raise

    @torch.no_grad()
    def _decompose(self, name: str, layer: Any) -> None:
        base_layer = layer.get_base_layer()
        weight = base_layer.weight.data
        rank, scaling = layer.r[ADAPTER], layer.scaling[ADAPTER]
        matrix = transpose(weight.float(), layer.fan_in_fan_out)
        triples = _triples(base_layer, matrix, rank, principal=self.principal)
        root_K = torch.sqrt(triples.S_K / scaling)
        A_KI = torch.diag(root_K) @ triples.V_KI
        B_OK = triples.U_OK @ torch.diag(root_K)
        for part, start in (("lora_A", A_KI), ("lora_B", B_OK)):
            trained = getattr(layer, part)[ADAPTER].weight
            trained.data = start.to(weight.dtype)
            self._start[f"{PREFIX}{name}.{part}.weight"] = trained.detach().to("cpu", copy=True)
        rest = matrix - scaling * B_OK @ A_KI
        # On a GPU there is no room for both; a tensor on the CPU is kept as it is.
        self._originals.append((base_layer, weight.cpu()))
        base_layer.weight.data = transpose(rest.to(weight.dtype), layer.fan_in_fan_out)

    def config_dict(self) -> dict[str, Any]:
        """Return the configuration of a plain LoRA of twice the rank, at the same scaling."""
        config = super().config_dict()
        patterns = {
            name: {layer: 2 * value for layer, value in config[name].items()}
            for name in ("rank_pattern", "alpha_pattern")
        }
        return {
            **config,
            "r": 2 * config["r"],
            "lora_alpha": 2 * config["lora_alpha"],
            **patterns,
        }

    def weights(self) -> Mapping[str, torch.Tensor]:
        """Return ``[B, -B0]`` and ``[A; A0]``: the difference to the original base model."""
        converted = {}
        for name, tensor in super().weights().items():
            if name not in self._start:
                # PEFT adds the weight of an output layer, which is W_res here.
                if ".base_layer." not in name:
                    converted[name] = tensor
                continue
            start = self._start[name].to(tensor.device)
            is_A = "lora_A" in name
            converted[name] = torch.cat([tensor, start if is_A else -start], dim=0 if is_A else 1)
        return converted

    def detach(self) -> PreTrainedModel:
        """Remove the adapter and put back the weights as they were, bit for bit."""
        for module, weight in self._originals:
            module.weight.data = weight.to(module.weight.device)
        return super().detach()


class Pissa(Decomposed):
    """PiSSA (arXiv 2404.02948): the principal triples, as PEFT's ``init_lora_weights="pissa"``."""

    principal = True


class Milora(Decomposed):
    """MiLoRA (arXiv 2406.09044): the minor triples.

    The principal ones, which hold what pretraining learned, stay frozen in the base model.
    """

    principal = False


def _refuse_embeddings(base: PreTrainedModel, name: str, layer: Any, method: str) -> None:
    """Refuse a layer that has no factors of a matrix, or whose weight another layer reads too.

    Raises:
        InputError: Naming it.
    """
    if ADAPTER not in layer.lora_A:
        problem = f"must match linear layers with `method: {method}`, got {name}"
        raise InputError.of("adapter.target_modules", problem)
    embeddings: Any = base.get_input_embeddings()
    if layer.get_base_layer().weight is getattr(embeddings, "base_layer", embeddings).weight:
        problem = (
            f"must leave out {name} with `method: {method}`, which changes its weight: the "
            "embeddings share it"
        )
        raise InputError.of("adapter.target_modules", problem)


def _triples(module: nn.Module, matrix_OI: torch.Tensor, rank: int, *, principal: bool) -> _Triples:
    """Return ``rank`` triples of the module's weight, which an earlier trial may have computed.

    Raises:
        InputError: The weight has fewer.
    """
    if rank > min(matrix_OI.shape):
        limit = min(matrix_OI.shape)
        problem = f"must be at most {limit}, the smallest dimension of a layer, got {rank}"
        raise InputError.of("adapter.rank", problem)
    known = _CACHE.setdefault(module, {})
    part = slice(rank) if principal else slice(-rank, None)
    if principal not in known or known[principal].S_K.numel() < rank:
        U, S, V = torch.linalg.svd(matrix_OI, full_matrices=False)
        known[principal] = _Triples(
            *(tensor.cpu().clone() for tensor in (U[:, part], S[part], V[part]))
        )
    found = known[principal]
    # Contiguous whatever is known beyond them, so that sums round the same in every trial.
    return _Triples(
        *(
            tensor.contiguous().to(matrix_OI.device)
            for tensor in (found.U_OK[:, part], found.S_K[part], found.V_KI[part])
        )
    )
