"""Floating-point operations of a trial's training, and its hours on a kind of GPU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from droplora_sweep.adapters.sizes import num_trainable_parameters
from droplora_sweep.groups.capacity import kinds_of_gpus
from droplora_sweep.spec.methods import method_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from droplora_sweep.models.inspecting import Dimensions
    from droplora_sweep.spec import TrialSpec


@dataclass(frozen=True)
class Gpu:
    """One kind of GPU, by its maker's data sheet.

    Attributes:
        name: Name that Ray has for it.
        memory_bytes: Its memory; the smallest where the name covers several.
        peak_flops: Dense operations per second of its matrix units in bfloat16 (V100 and T4:
            float16).
    """

    name: str
    memory_bytes: int
    peak_flops: float


GPUS: Final = {
    name: Gpu(name, gigabytes * 10**9, teraflops * 1e12)
    for name, gigabytes, teraflops in (
        ("T4", 16, 65),
        ("V100", 16, 125),
        ("L4", 24, 121),
        ("A10G", 24, 70),
        ("L40S", 48, 362),
        ("A100", 40, 312),
        ("A100-40G", 40, 312),
        ("A100-80G", 80, 312),
        ("H100", 80, 989),
        ("H200", 141, 989),
    )
}
"""NVIDIA's data sheets, operations without sparsity."""


def smallest_gpu(nodes: Sequence[Mapping[str, float]]) -> Gpu | None:
    """Return the nodes' GPU with the least memory; None where the kind of one is not known."""
    kinds = {kind for node in nodes if node.get("GPU") for kind in kinds_of_gpus([node])}
    num_named = sum(bool(kinds_of_gpus([node])) for node in nodes if node.get("GPU"))
    num_with_gpus = sum(bool(node.get("GPU")) for node in nodes)
    if not kinds or not kinds <= GPUS.keys() or num_named < num_with_gpus:
        return None
    return min((GPUS[kind] for kind in kinds), key=lambda gpu: gpu.memory_bytes)


ASSUMED_UTILISATION: Final = 0.4
"""Share of a GPU's peak that training reaches: PaLM's own was 0.46 (arXiv 2204.02311, Table 3);
fine-tuning with short sequences reaches less."""


def flops_per_token(
    shapes: Mapping[str, tuple[int, ...]],
    dimensions: Dimensions,
    trial: TrialSpec,
    num_context_tokens: int,
) -> float:
    """Return the operations of one token's forward and backward pass.

    A matrix of n numbers takes 2 n forward, 2 n for its input's gradient, and 2 n for its own if
    it is trained (arXiv 2001.08361, section 2.1): 4 N for a frozen base and 6 T for an adapter,
    6 N for a full model. Attention takes 4 Q L tokens forward over the whole context, half of it
    under a causal mask, and twice as many backward (arXiv 2204.02311, appendix B). Gradient
    checkpointing runs the forward pass twice. Embeddings are looked up; the output layer counts.

    Args:
        shapes: Name of each tensor of the base model to its shape.
        dimensions: Sizes of the same model.
        trial: The trial.
        num_context_tokens: Tokens of a sequence.
    """
    num_matrix = dimensions.vocabulary * dimensions.width + sum(
        shape[0] * shape[1] for name, shape in shapes.items() if ".layers." in name and shape[1:]
    )
    attention = 2 * dimensions.query_width * dimensions.num_layers * num_context_tokens
    is_full = not method_of(trial.adapter.method).has_rank
    num_trained = num_matrix if is_full else num_trainable_parameters(shapes, trial.adapter)
    num_used = num_matrix if is_full else num_matrix + num_trained
    forward = 2.0 * num_used + attention
    backward = 2.0 * num_used + 2.0 * num_trained + 2 * attention
    again = forward if trial.training.gradient_checkpointing else 0.0
    return forward + backward + again


def trial_flops(
    shapes: Mapping[str, tuple[int, ...]],
    dimensions: Dimensions,
    trial: TrialSpec,
    num_examples: int,
) -> float:
    """Return the operations of a trial's training if every sequence is as long as it may be."""
    length = trial.training.max_sequence_tokens
    per_token = flops_per_token(shapes, dimensions, trial, length)
    return per_token * most_tokens(trial, num_examples)


def most_tokens(trial: TrialSpec, num_examples: int) -> int:
    """Return the tokens of a trial over all epochs if every sequence is as long as it may be."""
    return num_examples * trial.training.epochs * trial.training.max_sequence_tokens


def gpu_hours(flops: float, gpu: Gpu, utilisation: float = ASSUMED_UTILISATION) -> float:
    """Return the hours of one GPU that reaches ``utilisation`` of its peak, an assumption."""
    return flops / (gpu.peak_flops * utilisation) / 3600
