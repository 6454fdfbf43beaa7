"""Size of an adapter, from the base model's tensor shapes alone; needs no torch."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from droplora_sweep.spec.methods import method_of
from droplora_sweep.spec.targets import ALL_LAYERS, ALL_LINEAR, is_chosen, layer_number

if TYPE_CHECKING:
    from collections.abc import Mapping

    from droplora_sweep.spec.adapter import AdapterSpec

_WEIGHT = ".weight"


def matched_modules(
    shapes: Mapping[str, tuple[int, ...]],
    target_modules: tuple[str, ...] | str,
    layers: tuple[int, ...] | str = ALL_LAYERS,
) -> dict[str, tuple[int, int]]:
    """Return the linear layers that get an adapter.

    Args:
        shapes: Name of each tensor of the base model to its shape, as in its safetensors files.
        target_modules: Names of layers, ``all-linear`` (of those in the stack) or a regular
            expression.
        layers: Numbers of the layers of the stack, or all.

    Returns:
        Layer name to its weight's shape (out, in), in the model's order.
    """
    matched: dict[str, tuple[int, int]] = {}
    for name, shape in shapes.items():
        module = name.removesuffix(_WEIGHT)
        is_linear = name.endswith(_WEIGHT) and len(shape) == 2
        if target_modules == ALL_LINEAR and layer_number(module) is None:
            continue
        if is_linear and is_chosen(module, target_modules, layers):
            matched[module] = (shape[0], shape[1])
    return matched


def unmatched_targets(
    shapes: Mapping[str, tuple[int, ...]], target_modules: tuple[str, ...] | str
) -> tuple[str, ...]:
    """Return the targets that name no linear layer of the model, in the order they were given."""
    if isinstance(target_modules, str):
        return () if matched_modules(shapes, target_modules) else (target_modules,)
    return tuple(target for target in target_modules if not matched_modules(shapes, (target,)))


def adapted_layers(
    shapes: Mapping[str, tuple[int, ...]], spec: AdapterSpec
) -> dict[str, tuple[int, int]]:
    """Return the linear layers that get an adapter; see `matched_modules`."""
    matched = matched_modules(shapes, spec.target_modules, spec.layers)
    return {name: shape for name, shape in matched.items() if not spec.is_saved(name)}


def num_trainable_parameters(shapes: Mapping[str, tuple[int, ...]], spec: AdapterSpec) -> int:
    """Return how many numbers the method trains.

    LoRA has ``rank * (in + out)`` for each layer with an adapter, DoRA ``out`` more for the
    magnitudes, the learned mask ``rank`` more in a pruned layer; LoRA-drop is counted before it
    drops layers, when it has most. Modules that are trained whole have all of theirs, and so has a
    full model.

    LLaMA2-7B, rank 32, q k v up down projections: 56.10M, with DoRA 56.98M (arXiv 2508.17337,
    Table 1).

    Args:
        shapes: Name of each tensor of the base model to its shape; tied weights once.
        spec: The adapter.
    """
    method = method_of(spec.method)
    if not method.has_rank:
        return _num_in_model(shapes)
    matched = adapted_layers(shapes, spec)
    num_gates = sum(
        spec.rank_of(module)
        for module in matched
        if spec.mask == "learned" and spec.pruning_rate_of(module) > 0
    )
    num_factors = sum(
        method.num_trained(spec.rank_of(module), *shape) for module, shape in matched.items()
    )
    return num_gates + num_factors + _num_in_saved_modules(shapes, spec)


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
    num_saved = method.num_saved or method.num_trained
    return _num_in_saved_modules(shapes, spec) + sum(
        num_saved(method.saved_rank * spec.rank_of(module), *shape)
        for module, shape in adapted_layers(shapes, spec).items()
    )


def _num_in_saved_modules(shapes: Mapping[str, tuple[int, ...]], spec: AdapterSpec) -> int:
    return sum(
        math.prod(shape) for name, shape in shapes.items() if spec.is_saved(name.rpartition(".")[0])
    )


def _num_in_model(shapes: Mapping[str, tuple[int, ...]]) -> int:
    return sum(math.prod(shape) for shape in shapes.values())
