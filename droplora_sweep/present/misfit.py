"""Settings that do not fit into a GPU, those that would, and the parts of workers in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from droplora_sweep.errors import InputError
from droplora_sweep.plan.plan_costs import NOTHING_ASSUMED, plan_costs
from droplora_sweep.present.values import format_bytes, format_params, plural

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from droplora_sweep.plan.plan_costs import Costs, Misfit
    from droplora_sweep.plan.survey import Survey
    from droplora_sweep.spec import Scalar, ZeroSpec


_ZERO = {
    (2, "none"): "stage 2: workers split gradients and optimiser, each has all base weights",
    (2, "cpu"): "stage 2, with gradients and optimiser in the CPU's memory",
    (3, "none"): "stage 3: workers split gradients, optimiser and base weights",
    (3, "cpu"): "stage 3, with base weights, gradients and optimiser in the CPU's memory",
}


def zero_text(zero: ZeroSpec) -> str:
    """Return what a stage and its offload mean."""
    return _ZERO[zero.stage, zero.offload]


def room_text(costs: Costs) -> str:
    """Return the memory that a worker has: ``1/2 of H100, 40.0 GB``."""
    assert costs.gpu_bytes is not None
    share = "" if costs.num_sharing == 1 else f"1/{costs.num_sharing} of "
    name = f"{share}{costs.gpu.name if costs.gpu else 'a GPU'}, " if costs.gpu or share else ""
    return f"{name}{format_bytes(costs.gpu_bytes)}"


def ways_text(misfit: Misfit) -> str:
    """Return the ways in which a setting would fit, or that there is none."""
    if not misfit.ways:
        return "on no number of GPUs up to 64: it takes fewer or shorter sequences at once"
    return "; or ".join(
        f"{_fields_text(way.fields)}on {plural(way.num_workers, 'GPU')} per group, "
        f"{format_bytes(way.memory.peak)} each"
        for way in misfit.ways
    )


def _fields_text(fields: Mapping[str, Scalar]) -> str:
    texts = (f"`{path}: {str(value).lower()}`" for path, value in fields.items())
    return f"with {', '.join(texts)} " if fields else "as it is, "


def memory_fault(found: Survey, nodes: Sequence[Mapping[str, float]]) -> InputError | None:
    """Return the fault of a sweep some of whose trials can never fit into the cluster's GPUs.

    What a batch takes is not counted, and may be made smaller; None also where the kind of GPU or
    the sizes of the model are not known.

    Args:
        found: The sweep, with its model.
        nodes: Total resources of each node.
    """
    costs = plan_costs(found, nodes, NOTHING_ASSUMED)
    if costs is None or costs.impossible is None:
        return None
    memory = costs.impossible.memory
    names = ("weights", "gathered", "adapter", "gradients", "optimizer")
    sizes = {name: int(getattr(memory, name)) for name in names}
    parts = ", ".join(f"{name} {format_bytes(size)}" for name, size in sizes.items() if size)
    setting = format_params(costs.impossible.setting)
    where = f" with {setting}" if setting else ""
    return InputError.of(
        "model.path",
        f"must fit into {room_text(costs)} of each worker{where}, got {found.sweep.model.path}, "
        f"which takes {parts} before any batch; would fit {ways_text(costs.impossible)}",
    )
