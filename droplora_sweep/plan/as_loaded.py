"""Checks of a sweep against its base model as transformers builds it, without weights.

Used where tensor names do not tell the layers, since importing torch takes seconds.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from droplora_sweep.adapters.sizes import matched_modules, unmatched_targets
from droplora_sweep.errors import Fault, InputError
from droplora_sweep.evaluation.context import model_context
from droplora_sweep.spec import dotted, possible_values
from droplora_sweep.spec.fields import get_field, with_fields
from droplora_sweep.spec.methods import method_of
from droplora_sweep.spec.parameters import is_number
from droplora_sweep.spec.rules.composition import (
    LAYERS,
    MASK,
    METHOD,
    MODULE_RANKS,
    MODULE_RATES,
    RANK,
    RATE,
    TARGETS,
    combinations,
    entries,
)
from droplora_sweep.spec.targets import ALL_LINEAR, is_chosen, names, read_targets
from droplora_sweep.spec.trial import PAD_MULTIPLE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from transformers import PreTrainedModel

    from droplora_sweep.adapters.attaching import Attached
    from droplora_sweep.models.inspecting import ModelSummary
    from droplora_sweep.spec import SweepSpec, TrialSpec


def corners(sweep: SweepSpec, paths: Sequence[str]) -> Iterator[TrialSpec]:
    """Yield trials with every combination of the ends of these fields, all else at its default."""
    for fields in combinations(paths, sweep):
        yield with_fields(sweep.trial, fields)


def adapter_corners(sweep: SweepSpec) -> Iterator[TrialSpec]:
    """Yield trials at the extremes of what decides how much is trained and saved."""
    mappings = (MODULE_RATES, MODULE_RANKS)
    of_modules = [path for mapping in mappings for path in entries(mapping, sweep)]
    searched = [path for path in of_modules if path in sweep.search.parameters]
    ends = {path: _ends(path, sweep) for path in searched}
    for trial in corners(sweep, (METHOD, MASK, RANK, RATE, TARGETS, LAYERS)):
        # All high and all low are the extremes, so modules need no combinations of their own.
        for end in (0, -1) if searched else (0,):
            yield with_fields(trial, {path: ends[path][end] for path in searched})


def _ends(path: str, sweep: SweepSpec) -> list[int | float]:
    return sorted(value for _, value in possible_values(path, sweep) if is_number(value))


SEQUENCE = "training.max_sequence_tokens"
_OUTPUT_LAYER = "lm_head"


@dataclass(frozen=True, kw_only=True)
class AsLoaded:
    """Facts about the model as transformers builds it.

    Attributes:
        attached: Adapter of each of `adapter_corners`, in order; empty where one is refused.
        layers: Shape (out, in) of every layer that has an adapter in some corner, by name.
        num_embedded: Number of token ids that have an embedding.
        context_tokens: The most tokens it can read; None where its configuration names no limit.
    """

    attached: tuple[Attached, ...]
    layers: Mapping[str, tuple[int, int]]
    num_embedded: int
    context_tokens: int | None


def is_recognised_by_names(sweep: SweepSpec, model: ModelSummary) -> bool:
    """Return True where tensor names are the names of the layers that get an adapter.

    They are in decoder layers of Llama's kind. Elsewhere tensors may be fused or transposed when
    they are loaded, and embeddings are no linear layers.
    """
    if model.dimensions is None or not model.architecture.lower().endswith("forcausallm"):
        return False
    if not any(method_of(str(name)).has_rank for _, name in possible_values(METHOD, sweep)):
        return True
    if sweep.adapter.modules_to_save:
        # Weights that are shared show on the model alone.
        return False
    return all(
        _is_recognised(read_targets(value), model) for _, value in possible_values(TARGETS, sweep)
    )


def _is_recognised(targets: tuple[str, ...] | str, model: ModelSummary) -> bool:
    matched = matched_modules(model.shapes, targets)
    if isinstance(targets, str) and targets != ALL_LINEAR:
        modules = {name.rpartition(".")[0] for name in (*model.shapes, f"{_OUTPUT_LAYER}.weight")}
        chosen = {module for module in modules if is_chosen(module, targets)}
        # What is no linear layer is for PEFT to refuse.
        return chosen <= matched.keys() and all(".layers." in name for name in matched)
    if unmatched := unmatched_targets(model.shapes, targets):
        # A tied output layer has no tensor; what else is missing, is missing in the model too.
        return not all(names(target, _OUTPUT_LAYER) for target in unmatched)
    return all(".layers." in name for name in matched)


def look_at_loaded(
    sweep: SweepSpec, path: Path, stored: Iterable[str], faults: list[Fault]
) -> AsLoaded | None:
    """Build the model, attach every kind of adapter that the space allows, and count.

    Args:
        sweep: The sweep.
        path: The model's folder.
        stored: Names of the tensors in its files, since PEFT translates those of fused experts.
        faults: List that faults are added to.

    Returns:
        None where the model cannot be built.
    """
    from droplora_sweep.adapters.attaching import attach_and_count
    from droplora_sweep.models.loading import (
        build_without_weights,
        num_embedded_tokens,
        num_learned_positions,
    )

    attached: list[Attached] = []
    refused: list[Fault] = []
    with warnings.catch_warnings():
        # Of libraries about each other; nothing that a user of this command can act on.
        warnings.simplefilter("ignore", FutureWarning)
        try:
            model = build_without_weights(path, trust_remote_code=sweep.model.trust_remote_code)
        except InputError as error:
            faults.extend(error.faults)
            return None
        context = model_context(model)
        faults.extend(_long_sequences(sweep, num_learned_positions(model, context)))
        for trial in adapter_corners(sweep):
            try:
                attached.append(attach_and_count(model, trial.adapter))
            except InputError as error:
                faults_here = [_placed(fault, trial, sweep) for fault in error.faults]
                refused += [fault for fault in faults_here if fault not in refused]
    if not refused and any(one.layers for one in attached):
        refused += _unmatched(sweep, model, stored)
    faults.extend(refused)
    return AsLoaded(
        attached=() if refused else tuple(attached),
        layers={name: shape for one in attached for name, shape in one.layers.items()},
        num_embedded=num_embedded_tokens(model),
        context_tokens=context,
    )


def _placed(fault: Fault, trial: TrialSpec, sweep: SweepSpec) -> Fault:
    """Return the fault at the searched value that it is of, if it is of one."""
    for place, value in possible_values(fault.field, sweep):
        if value == get_field(trial, fault.field):
            return replace(fault, field=dotted(place))
    return fault


def _long_sequences(sweep: SweepSpec, num_positions: int | None) -> Iterator[Fault]:
    """Refuse sequences beyond the last learned position."""
    if num_positions is None:
        return
    most = num_positions // PAD_MULTIPLE * PAD_MULTIPLE
    for place, length in possible_values(SEQUENCE, sweep):
        if isinstance(length, int) and length > most:
            problem = (
                f"must be at most {most:,}, since the model has learned embeddings of "
                f"{num_positions:,} positions and sequences are padded to a multiple of "
                f"{PAD_MULTIPLE}, got {length:,}"
            )
            yield Fault("", dotted(place), problem)


def _unmatched(sweep: SweepSpec, model: PreTrainedModel, stored: Iterable[str]) -> Iterator[Fault]:
    """Refuse targets that name no layer, which PEFT leaves out silently if another one does."""
    modules = dict(model.named_modules())
    known = [*modules, *(name.removesuffix(".weight") for name in stored)]
    for place, value in possible_values(TARGETS, sweep):
        targets = read_targets(value)
        if isinstance(targets, str):
            continue
        unmatched = [one for one in targets if not any(names(one, module) for module in known)]
        if not unmatched:
            continue
        linear = {name.rpartition(".")[2] for name, one in modules.items() if _is_linear(one)}
        problem = (
            f"must match linear layers of the model, got {', '.join(unmatched)}, which match none; "
            f"it has {', '.join(sorted(linear))}"
        )
        yield Fault("", dotted(place), problem)


def _is_linear(module: object) -> bool:
    return type(module).__name__ in ("Linear", "Conv1D")
