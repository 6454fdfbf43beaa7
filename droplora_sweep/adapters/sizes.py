"""Size of an adapter, from the base model's tensor shapes alone; needs no torch."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from droplora_sweep.spec.adapter import names
from droplora_sweep.spec.methods import method_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from droplora_sweep.spec.adapter import AdapterSpec

_WEIGHT = ".weight"


def matched_modules(
    shapes: Mapping[str, tuple[int, ...]], target_modules: Iterable[str]
) -> dict[str, tuple[int, int]]:
    """Return the linear layers that get an adapter.

    Args:
        shapes: Name of each tensor of the base model to its shape, as in its safetensors files.
        target_modules: Full names of layers, or their last parts.

    Returns:
        Layer name to its weight's shape (out, in), in the model's order.
    """
    targets = tuple(target_modules)
    matched: dict[str, tuple[int, int]] = {}
    for name, shape in shapes.items():
        module = name.removesuffix(_WEIGHT)
        is_linear = name.endswith(_WEIGHT) and len(shape) == 2
        if is_linear and any(names(target, module) for target in targets):
            matched[module] = (shape[0], shape[1])
    return matched


def unmatched_targets(
    shapes: Mapping[str, tuple[int, ...]], target_modules: Iterable[str]
) -> tuple[str, ...]:
    """Return the targets that name no linear layer of the model, in the order they were given."""
    return tuple(
        target for target in target_modules if not matched_modules(shapes, target_modules=(target,))
    )


def num_trainable_parameters(shapes: Mapping[str, tuple[int, ...]], spec: AdapterSpec) -> int:
    """Return how many numbers the method trains.

    LoRA has ``rank * (in + out)`` for each layer with an adapter, DoRA ``out`` more for the
    magnitudes, the learned mask ``rank`` more in a pruned layer; LoRA-drop is counted before it
    drops layers, when it has most. A full model has all of its numbers.

    LLaMA2-7B, rank 32, q k v up down projections: 56.10M, with DoRA 56.98M (arXiv 2508.17337,
    Table 1).

    Args:
        shapes: Name of each tensor of the base model to its shape; tied weights once.
        spec: The adapter.
    """
    method = method_of(spec.method)
    if not method.has_rank:
        return _num_in_model(shapes)
    matched = matched_modules(shapes, spec.target_modules)
    num_gates = sum(
        spec.rank
        for module in matched
        if spec.mask == "learned" and spec.pruning_rate_of(module) > 0
    )
    return num_gates + sum(method.num_trained(spec.rank, *shape) for shape in matched.values())


def num_saved_numbers(shapes: Mapping[str, tuple[int, ...]], spec: AdapterSpec) -> int:
    """Return how many numbers are in the files that a trial leaves.

    As many as are trained, but for learned gates, which are folded into B, and for PiSSA and
    MiLoRA, which are saved as plain LoRA for the original base at twice the rank.

    Args:
        shapes: Name of each tensor of the base model to its shape; tied weights once.
        spec: The adapter.
    """
    method = method_of(spec.method)
    if not method.has_rank:
        return _num_in_model(shapes)
    matched = matched_modules(shapes, spec.target_modules)
    num_saved = method.num_saved or method.num_trained
    return sum(num_saved(method.saved_rank * spec.rank, *shape) for shape in matched.values())


def _num_in_model(shapes: Mapping[str, tuple[int, ...]]) -> int:
    return sum(math.prod(shape) for shape in shapes.values())
