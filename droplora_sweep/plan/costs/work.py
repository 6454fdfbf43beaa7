"""Arithmetic of a trial's training, and the GPU hours it means at an assumed utilisation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from droplora_sweep.adapters.sizes import num_trainable_parameters

if TYPE_CHECKING:
    from collections.abc import Mapping

    from droplora_sweep.models import Dimensions
    from droplora_sweep.spec import TrialSpec

    from .gpus import Gpu

ASSUMED_UTILISATION: Final = 0.4
"""Share of a GPU's peak that training reaches: PaLM's own was 0.46 (arXiv 2204.02311, Table 3);
fine-tuning with short sequences reaches less."""


def flops_per_token(
    shapes: Mapping[str, tuple[int, ...]],
    dimensions: Dimensions,
    trial: TrialSpec,
    num_context_tokens: int,
) -> float:
    """Floating-point operations of one token's forward and backward pass.

    A matrix of n numbers takes 2 n forward, 2 n for its input's gradient, and 2 n for its own if
    it is trained (arXiv 2001.08361, section 2.1): 4 N for a frozen base and 6 T for an adapter,
    6 N for a full model. Attention takes 4 Q L tokens forward over the whole context, half of it
    under a causal mask, and twice as many backward (arXiv 2204.02311, appendix B). Gradient
    checkpointing runs the forward pass twice. Embeddings are looked up; the output layer counts.

    Args:
        shapes: Name of each tensor of the base model to its shape.
        dimensions: The same model's.
        trial: What is trained.
        num_context_tokens: Tokens of a sequence.
    """
    num_matrix = dimensions.vocabulary * dimensions.width + sum(
        shape[0] * shape[1] for name, shape in shapes.items() if ".layers." in name and shape[1:]
    )
    attention = 2 * dimensions.query_width * dimensions.num_layers * num_context_tokens
    is_full = trial.adapter.method == "full"
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
    """Operations of a trial's training if every sequence is as long as it may be."""
    length = trial.training.max_sequence_tokens
    per_token = flops_per_token(shapes, dimensions, trial, length)
    return per_token * most_tokens(trial, num_examples)


def most_tokens(trial: TrialSpec, num_examples: int) -> int:
    """Tokens that a trial trains on, over all epochs, if every sequence is as long as it may be."""
    return num_examples * trial.training.epochs * trial.training.max_sequence_tokens


def gpu_hours(flops: float, gpu: Gpu, utilisation: float = ASSUMED_UTILISATION) -> float:
    """Hours of one GPU that reaches ``utilisation`` of its peak; an assumption, no measurement."""
    return flops / (gpu.peak_flops * utilisation) / 3600
