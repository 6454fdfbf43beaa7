"""Layers of a base model that an adapter chooses, as PEFT is told of them.

What PEFT can be told as it is, a list of names, it is told. Everything else is worked out here
into full names, so that the saved adapter says by itself which layers it has, and with which rank
and alpha, whatever loads it.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import nn
from transformers.pytorch_utils import Conv1D

from droplora_sweep.errors import InputError
from droplora_sweep.spec.targets import ALL_LAYERS, ALL_LINEAR, layers_text, names

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from transformers import PreTrainedModel

    from droplora_sweep.spec.adapter import AdapterSpec

TARGETS = "adapter.target_modules"
SAVED = "adapter.modules_to_save"
NUM_SHOWN = 3


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """Fields of PEFT's ``LoraConfig``.

    Attributes:
        target_modules: Names of layers, full ones or their last parts; or ``all-linear``, which
            PEFT takes for the experts of a mixture too, where transformers has fused them.
        rank_pattern: Rank by layer where it is not the common one; PEFT's keys, of which no two
            match one layer, since a saved configuration does not keep their order.
        alpha_pattern: Alpha by layer where it is not the common one, likewise.
        modules_to_save: Full names of modules that are trained whole.
    """

    target_modules: list[str] | str
    rank_pattern: dict[str, int]
    alpha_pattern: dict[str, float]
    modules_to_save: list[str]


def choose_layers(base: PreTrainedModel, spec: AdapterSpec) -> Chosen:
    """Return what PEFT is to adapt of the base model.

    Raises:
        InputError: Nothing matches, or something that cannot be adapted or trained whole.
    """
    modules = dict(base.named_modules())
    saved = _saved(base, spec, modules)
    found = _found_layers(base, spec, modules)
    layers = [
        name
        for name in modules
        if any(names(target, name) for target in found) and not spec.is_saved(name)
    ]
    ranks = {name: spec.rank_of(name) for name in layers}
    alphas = {name: spec.alpha_of(name) for name in layers}
    return Chosen(
        target_modules=ALL_LINEAR if _is_pefts(spec) else found,
        rank_pattern=_pattern(ranks, spec.rank) if spec.module_ranks else {},
        alpha_pattern=_pattern(alphas, spec.with_alpha().alpha)
        if spec.module_ranks or spec.module_alphas
        else {},
        modules_to_save=saved,
    )


def is_linear(module: object) -> bool:
    """Return True for a linear layer, quantised or transposed ones too."""
    return isinstance(module, nn.Linear | Conv1D)


def _is_pefts(spec: AdapterSpec) -> bool:
    return spec.target_modules == ALL_LINEAR and spec.layers == ALL_LAYERS


def _found_layers(
    base: PreTrainedModel, spec: AdapterSpec, modules: Mapping[str, nn.Module]
) -> list[str]:
    """Return the names of what is adapted: as they are given, or in full.

    Raises:
        InputError: Nothing matches, or something that cannot be adapted.
    """
    if not isinstance(spec.target_modules, str) and spec.layers == ALL_LAYERS:
        return list(spec.target_modules)
    fused = [name for name, weight in base.named_parameters() if weight.dim() > 2]
    if fused and spec.target_modules == ALL_LINEAR and not _is_pefts(spec):
        problem = (
            f"must be all with `target_modules: {ALL_LINEAR}` on a model with fused experts "
            f"({_shown(fused)}), got {layers_text(spec.layers)}"
        )
        raise InputError.of("adapter.layers", problem)
    output = base.get_output_embeddings()
    found, others = [], []
    for name, module in modules.items():
        has_weights = next(module.parameters(recurse=False), None) is not None
        if not spec.is_target(name) or not has_weights:
            continue
        if spec.target_modules == ALL_LINEAR:
            found += [name] * (is_linear(module) and module is not output)
        else:
            found.append(name)
            others += [name] * (not is_linear(module) and isinstance(spec.target_modules, str))
    if others:
        problem = f"must match linear layers alone, got {spec.target_modules!r}, which matches "
        raise InputError.of(TARGETS, f"{problem}{_shown(others)} too")
    if not found:
        where = "" if spec.layers == ALL_LAYERS else " in those of `adapter.layers`"
        problem = f"must match layers of the model{where}, got {spec.target_modules!r}"
        raise InputError.of(TARGETS, problem)
    return found


def _saved(base: nn.Module, spec: AdapterSpec, modules: Mapping[str, nn.Module]) -> list[str]:
    """Return the full names of the modules that are trained whole.

    Raises:
        InputError: A name is of none, or of one that cannot be trained, or that shares a weight.
    """
    for name in spec.modules_to_save:
        if not any(names(name, module) for module in modules):
            raise InputError.of(SAVED, f"must name modules of the model, got {name}")
    saved = [
        module for module in modules if any(names(name, module) for name in spec.modules_to_save)
    ]
    places: dict[int, list[str]] = defaultdict(list)
    for name, weight in base.named_parameters(remove_duplicate=False):
        places[id(weight)].append(name)
    for module in saved:
        weights = dict(modules[module].named_parameters())
        if not weights:
            raise InputError.of(SAVED, f"must name modules with weights, got {module}")
        if not all(weight.is_floating_point() for weight in weights.values()):
            problem = f"must leave out {module}, whose weights are quantised"
            raise InputError.of(SAVED, problem)
        shared = [one for weight in weights.values() for one in places[id(weight)]]
        others = [one for one in shared if not one.startswith(f"{module}.")]
        if others:
            problem = f"must leave out {module}, which shares its weight with {_shown(others)}"
            raise InputError.of(SAVED, problem)
    return saved


def _pattern(values: Mapping[str, Any], common: object) -> dict[str, Any]:
    """Return PEFT's pattern of what differs, by the layers' last part where that says it."""
    kinds: dict[str, list[str]] = defaultdict(list)
    for name in values:
        kinds[name.rpartition(".")[2]].append(name)
    pattern = {}
    for kind, members in kinds.items():
        if len({values[name] for name in members}) == 1:
            pattern[kind] = values[members[0]]
        else:
            pattern |= {name: values[name] for name in members}
    return {key: value for key, value in pattern.items() if value != common}


def _shown(found: Iterable[str]) -> str:
    listed = list(dict.fromkeys(found))
    return ", ".join(listed[:NUM_SHOWN]) + (", ..." if len(listed) > NUM_SHOWN else "")
