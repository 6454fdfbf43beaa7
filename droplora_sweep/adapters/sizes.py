"""What an adapter would hold, from the base model's tensor shapes alone; needs no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from droplora_sweep.spec.trial import AdapterSpec

_WEIGHT = ".weight"


def _names(module: str, target: str) -> bool:
    """PEFT's rule: a target is a module's full name, or its last part or parts."""
    return module == target or module.endswith(f".{target}")


def matched_modules(
    shapes: Mapping[str, tuple[int, ...]], target_modules: Iterable[str]
) -> dict[str, tuple[int, int]]:
    """The linear layers that get an adapter.

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
        if is_linear and any(_names(module, target) for target in targets):
            matched[module] = (shape[0], shape[1])
    return matched


def unmatched_targets(
    shapes: Mapping[str, tuple[int, ...]], target_modules: Iterable[str]
) -> tuple[str, ...]:
    """The targets that name no linear layer of the model, in the order they were given."""
    return tuple(
        target for target in target_modules if not matched_modules(shapes, target_modules=(target,))
    )


def num_trainable_parameters(shapes: Mapping[str, tuple[int, ...]], spec: AdapterSpec) -> int:
    """Numbers the adapter trains: ``rank * (in + out)`` for each layer that gets one.

    LLaMA2-7B, rank 32, q k v up down projections: 56.10M (arXiv 2508.17337, Table 1).
    """
    matched = matched_modules(shapes, spec.target_modules)
    return sum(spec.rank * (num_out + num_in) for num_out, num_in in matched.values())
