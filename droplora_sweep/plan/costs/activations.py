"""Memory that autograd keeps of a Llama-like decoder's forward pass, tensor by tensor.

Sums are of bytes per token of a micro-batch. b is the size of a number of the trial's precision,
H, F and Q the widths of hidden state, MLP and queries. Operations without a trained weight keep
only what the gradient of their *input* needs, so a frozen linear layer keeps nothing:

* RMSNorm: its input in fp32, 4 H; with a trained weight also its normalised value, b H.
* Attention: queries and output, 2 b Q, keys and values, 2 b times their width.
* MLP: the gate before and after its activation and the up projection, 3 b F.
* A linear layer with an adapter, or trained: its input, shared by layers that have the same one.
  Dropout gives each layer an input of its own, and a mask: 1 byte a number on a GPU, b on a CPU.
* The adapter: A x, b r, and the mask of its ranks, r. DoRA: the layer's output and its update, 2 b
  out (arXiv 2402.09353, with PEFT's rule that the norm is a constant).

Checked against autograd's saved tensors in the tests; arXiv 2205.05198 counts a GPT in this way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from droplora_sweep.spec.methods import method_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from droplora_sweep.models.inspecting import Dimensions
    from droplora_sweep.spec import AdapterSpec

FP32_BYTES = 4


@dataclass(frozen=True)
class Kept:
    """Bytes that autograd keeps per token.

    Attributes:
        all_layers: Bytes of all decoder layers.
        per_layer: Bytes of the decoder layer that keeps most.
        layer_input: Bytes of a layer's input, which alone is kept with gradient checkpointing.
        last_norm: Bytes of the norm before the output layer.
    """

    all_layers: int
    per_layer: int
    layer_input: int
    last_norm: int


def kept_per_token(
    dimensions: Dimensions, adapter: AdapterSpec, number_bytes: int, *, on_gpu: bool = True
) -> Kept:
    """Count the bytes that one token of a micro-batch keeps until the backward pass.

    Args:
        dimensions: Sizes of the model.
        adapter: The adapter that is trained.
        number_bytes: Size of a number of the trial's precision: 2 or 4.
        on_gpu: Counts dropout masks of one byte.
    """
    is_full = not method_of(adapter.method).has_rank
    width, b = dimensions.width, number_bytes
    norm = FP32_BYTES * width + (b * width if is_full or adapter.modules_to_save else 0)
    attention = 2 * b * (dimensions.query_width + dimensions.kv_width)
    attention += FP32_BYTES * dimensions.num_heads
    mlp = 3 * b * dimensions.mlp_width
    trained = [
        _trained_bytes(_linear_layers(dimensions, number), adapter, b, on_gpu=on_gpu)
        for number in range(dimensions.num_layers)
    ]
    if not is_full and not adapter.modules_to_save:
        # Nothing is kept before the first layer that is trained: no gradient goes there.
        while len(trained) > 1 and not trained[0]:
            del trained[0]
    layers = [2 * norm + attention + mlp + own for own in trained]
    return Kept(
        all_layers=sum(layers),
        per_layer=max(layers),
        layer_input=b * width,
        last_norm=norm + (b * width if adapter.modules_to_save else 0),
    )


def _trained_bytes(
    layers: Mapping[str, _Linear], adapter: AdapterSpec, b: int, *, on_gpu: bool
) -> int:
    """Return the bytes that the adapters of one decoder layer, or its trained weights, keep."""
    is_full = not method_of(adapter.method).has_rank
    total = 0
    for fed, members in _SHARING.items():
        trained = [
            layers[name] for name in members if is_full or adapter.is_target(layers[name].path)
        ]
        if trained:
            total += _input_bytes(trained, adapter, b, on_gpu=on_gpu, is_kept=fed in _KEPT)
        if not is_full:
            total += sum(_adapter_bytes(layer, adapter, b) for layer in trained)
    return total


@dataclass(frozen=True)
class _Linear:
    path: str
    num_in: int
    num_out: int


_SHARING: Mapping[str, tuple[str, ...]] = {
    "attention input": ("q_proj", "k_proj", "v_proj"),
    "attention output": ("o_proj",),
    "mlp input": ("gate_proj", "up_proj"),
    "mlp product": ("down_proj",),
}
"""Linear layers of a decoder layer by the tensor that they read."""

_KEPT = ("attention output",)
"""Tensors that attention keeps itself."""


def _linear_layers(dimensions: Dimensions, number: int) -> dict[str, _Linear]:
    width, mlp = dimensions.width, dimensions.mlp_width
    query, kv = dimensions.query_width, dimensions.kv_width
    sizes = {
        "self_attn.q_proj": (width, query),
        "self_attn.k_proj": (width, kv),
        "self_attn.v_proj": (width, kv),
        "self_attn.o_proj": (query, width),
        "mlp.gate_proj": (width, mlp),
        "mlp.up_proj": (width, mlp),
        "mlp.down_proj": (mlp, width),
    }
    return {
        path.rpartition(".")[2]: _Linear(f"model.layers.{number}.{path}", *size)
        for path, size in sizes.items()
    }


def _input_bytes(
    trained: list[_Linear], adapter: AdapterSpec, b: int, *, on_gpu: bool, is_kept: bool
) -> int:
    num_in = trained[0].num_in
    if adapter.dropout == 0 or not method_of(adapter.method).has_rank:
        return 0 if is_kept else b * num_in
    mask = 1 if on_gpu else b
    return len(trained) * (b + mask) * num_in


def _adapter_bytes(layer: _Linear, adapter: AdapterSpec, b: int) -> int:
    is_pruned = adapter.pruning_rate_of(layer.path) > 0
    hidden = (b + (1 if is_pruned else 0)) * adapter.rank_of(layer.path)
    return hidden + method_of(adapter.method).num_kept_per_output * b * layer.num_out
