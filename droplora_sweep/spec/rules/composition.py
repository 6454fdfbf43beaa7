"""Rules of what goes together over a search space, and of variants compared fairly."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from droplora_sweep.spec.fields import get_field, mapping_of, split_path
from droplora_sweep.spec.loading.messages import shown
from droplora_sweep.spec.methods import METHODS, method_of
from droplora_sweep.spec.parameters import Choice, Range, is_number, same
from droplora_sweep.spec.space import active_order, dependencies, field_value, settings, variants

from .parameter_rules import PARAMETERS, Finding, possible_values

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from droplora_sweep.spec.base import Scalar
    from droplora_sweep.spec.loading.yaml_text import Path
    from droplora_sweep.spec.parameters import Parameter
    from droplora_sweep.spec.sweep import SweepSpec
    from droplora_sweep.spec.trial import TrialSpec


METHOD = "adapter.method"
MASK = "adapter.mask"
RANK = "adapter.rank"
RATE = "adapter.pruning_rate"
MODULE_RATES = "adapter.module_pruning_rates"
MODULE_RANKS = "adapter.module_ranks"
MODULE_ALPHAS = "adapter.module_alphas"
TARGETS = "adapter.target_modules"
LAYERS = "adapter.layers"
LORA_PLUS = "training.lora_plus_ratio"


def combinations(paths: Sequence[str], sweep: SweepSpec) -> Iterator[dict[str, Scalar | None]]:
    """Every way the fields at ``paths`` can come together in one trial.

    Fields that are not searched, or not where a ``when`` does not hold, have their defaults. Of a
    range its ends are tried, and of every domain what a ``when`` tells apart.

    Args:
        paths: Dotted paths; an entry of a mapping that is not there is None.
        sweep: A sweep whose parameters are sound.

    Yields:
        Value by dotted path, of ``paths`` and of the searched fields that they depend on.
    """
    for values in _cases(paths, sweep):
        yield {path: field_value(path, values, sweep) for path in (*paths, *values)}


def pruning_rates(sweep: SweepSpec) -> tuple[str, ...]:
    """Dotted path of every pruning rate of a trial: the common one, and those of modules."""
    return (RATE, *entries(MODULE_RATES, sweep))


def entries(mapping: str, sweep: SweepSpec) -> tuple[str, ...]:
    """Dotted path of every entry of a mapping of a trial, given or searched."""
    _, _, name = mapping.partition(".")
    given = [f"{mapping}.{key}" for key in getattr(sweep.adapter, name)]
    searched = [path for path in sweep.search.parameters if mapping_of(path) == mapping]
    return tuple(dict.fromkeys((*given, *searched)))


def find_impossible_combinations(sweep: SweepSpec) -> Iterator[Finding]:
    """Yield combinations that are impossible, each with the reason and with one that works.

    Args:
        sweep: A sweep whose parameters are sound.
    """
    names = dict.fromkeys(str(method) for _, method in possible_values(METHOD, sweep))
    methods = [method_of(name) for name in names]
    masks = [mask for _, mask in possible_values(MASK, sweep)]
    if not all(method.has_rank for method in methods):
        for path in pruning_rates(sweep):
            yield from _without_rank_is_not_pruned(path, sweep)
        yield from _without_b_has_one_rate(sweep)
    if any(method.no_gate for method in methods) and "learned" in masks:
        yield from _some_have_no_gate(sweep)
    yield from _quantized_base_is_read_only(sweep)


def _without_rank_is_not_pruned(path: str, sweep: SweepSpec) -> Iterator[Finding]:
    culprits: dict[Path, str] = {}
    for values in _cases((METHOD, path), sweep):
        method = method_of(str(field_value(METHOD, values, sweep)))
        rate = field_value(path, values, sweep)
        if rate and not method.has_rank:
            remedy = _remedy(method.name, path, values, sweep, "use e.g. lora or dora")
            culprits[_place(path, values)] = (
                f"must be 0 {_where(method.name, sweep)}, which has no rank dimension to prune, "
                f"got {shown(rate)}; {remedy}"
            )
    for place, problem in culprits.items():
        yield Finding(place, problem, _reads(METHOD))


def _without_b_has_one_rate(sweep: SweepSpec) -> Iterator[Finding]:
    culprits: dict[Path, str] = {}
    for values in _cases((METHOD, LORA_PLUS), sweep):
        method = method_of(str(field_value(METHOD, values, sweep)))
        ratio = field_value(LORA_PLUS, values, sweep)
        if ratio != 1 and not method.has_rank:
            remedy = _remedy(method.name, LORA_PLUS, values, sweep, "use e.g. lora or dora")
            culprits[_place(LORA_PLUS, values)] = (
                f"must be 1 {_where(method.name, sweep)}, which has no A and B, got "
                f"{shown(ratio)}; {remedy}"
            )
    for place, problem in culprits.items():
        yield Finding(place, problem, _reads(METHOD))


def _some_have_no_gate(sweep: SweepSpec) -> Iterator[Finding]:
    culprits: dict[Path, str] = {}
    for path in pruning_rates(sweep):
        for values in _cases((METHOD, MASK, path), sweep):
            method = method_of(str(field_value(METHOD, values, sweep)))
            is_learned = field_value(MASK, values, sweep) == "learned"
            if method.no_gate and is_learned and field_value(path, values, sweep):
                otherwise = "learned works with e.g. lora or dora"
                culprits[_place(MASK, values)] = (
                    f"must be token, sample or step {_where(method.name, sweep)}, "
                    f"{method.no_gate}, got 'learned'; "
                    f"{_remedy(method.name, MASK, values, sweep, otherwise)}"
                )
    for place, problem in culprits.items():
        yield Finding(place, problem, _reads(METHOD, RATE))


def _quantized_base_is_read_only(sweep: SweepSpec) -> Iterator[Finding]:
    quantization = sweep.model.quantization
    if quantization == "none":
        return
    *others, last = (name for name, one in METHODS.items() if not one.changes_base)
    for place, name in possible_values(METHOD, sweep):
        method = method_of(str(name))
        if method.changes_base:
            problem = (
                f"must be {', '.join(others)} or {last} with `model.quantization: "
                f"{quantization}`, got {shown(name)}, which {method.changes_base}, stored in "
                f"{quantization.removesuffix('bit')} bits"
            )
            yield Finding(place, problem, (("model", "quantization"),))


def _where(method: str, sweep: SweepSpec) -> str:
    if METHOD in sweep.search.parameters:
        return f"where `{METHOD}` is {method}"
    return f"with `method: {method}`"


def _remedy(
    method: str, path: str, values: Mapping[str, Scalar], sweep: SweepSpec, otherwise: str
) -> str:
    """A ``when`` that keeps the field away from ``method``, if there is another method."""
    methods = [str(value) for _, value in possible_values(METHOD, sweep) if value != method]
    if not methods:
        return otherwise
    if path in sweep.search.parameters and path not in values:
        return "leave out this default, which trials have that do not search the field"
    condition = f"`when: {{{METHOD}: [{', '.join(dict.fromkeys(methods))}]}}`"
    return f"add {condition}" if path in values else f"search it instead, with {condition}"


def _place(path: str, values: Mapping[str, Scalar]) -> Path:
    """Path of the value: in the search, or of the trial's default."""
    return (*PARAMETERS, path) if path in values else split_path(path)


def _reads(*paths: str) -> tuple[Path, ...]:
    return tuple(place for path in paths for place in (split_path(path), (*PARAMETERS, path)))


def _cases(paths: Sequence[str], sweep: SweepSpec) -> Iterator[dict[str, Scalar]]:
    """Raw values of the active parameters that decide what the fields at ``paths`` are."""
    parameters = sweep.search.parameters
    needed = set(paths)
    for path in reversed(active_order(sweep)):
        if path in needed:
            needed.update(dependencies(parameters[path]))
    order = [path for path in active_order(sweep) if path in needed]
    named: dict[str, list[Scalar]] = defaultdict(list)
    for path in order:
        for other, options in parameters[path].when.items():
            named[other] += options
    probes = {path: _probes(parameters[path], named[path], path in paths) for path in order}
    return settings(order, probes.__getitem__, sweep)


def _probes(parameter: Parameter, options: Sequence[Scalar], is_asked: bool) -> list[Scalar]:
    """Raw values to try, each once.

    Of a field that only decides about others, one value stands for all that no ``when`` names: the
    largest, as it may be the base of a ratio.

    Args:
        parameter: A field's domain.
        options: Values of the field that a ``when`` names.
        is_asked: True where the field's own values matter.
    """
    named = [value for value in options if parameter.contains(value)]
    tried: list[Scalar] = [value for _, value in parameter.probes]
    if isinstance(parameter, Range):
        # One more than is named, so that one of them is not.
        width, parts = parameter.max - parameter.min, len(named) + 1
        tried += [parameter.nearest(parameter.min + width * i / parts) for i in range(1, parts)]
    if not is_asked and parameter.ratio_of is None:
        others = [value for value in tried if not any(same(value, option) for option in named)]
        numbers = [value for value in others if is_number(value)]
        tried = [max(numbers)] if numbers else others[:1]
    kept: list[Scalar] = []
    for value in (*tried, *named):
        if not any(same(value, other) for other in kept):
            kept.append(value)
    return kept


COMPARE: Path = ("search", "compare")
FAIR_SAMPLERS = ("tpe", "gp", "random")
"""Samplers that can be given the trials of one variant as all there is."""


def variant_key(trial: TrialSpec, sweep: SweepSpec) -> tuple[Scalar | None, ...]:
    """Values of the compared fields, which tell the trial's variant from others."""
    return tuple(get_field(trial, path) for path in sweep.search.compare)


def find_unfair_comparison(sweep: SweepSpec) -> Iterator[Finding]:
    """Yield faults that make a comparison unfair or impossible.

    Args:
        sweep: A sweep whose parameters are sound.
    """
    search = sweep.search
    if not search.compare:
        return
    problems = [*_fields(sweep)]
    yield from problems
    if problems:
        return
    if search.sampler.kind not in FAIR_SAMPLERS:
        problem = f"must be {', '.join(FAIR_SAMPLERS[:-1])} or {FAIR_SAMPLERS[-1]}"
        problem += f" with `search.compare`, got {search.sampler.kind}"
        yield Finding(("search", "sampler"), problem, (COMPARE,))
    if search.stopping.kind != "none":
        problem = (
            "must be `kind: none` with `search.compare`: a method that learns more slowly would be "
            f"stopped for it, got {search.stopping.kind}"
        )
        yield Finding(("search", "stopping"), problem, (COMPARE,))
    if search.objectives:
        problem = "must be left out with several `search.objectives`: a variant has no single best"
        yield Finding(COMPARE, problem, (("search", "objectives"),))
    num_variants = len(variants(sweep))
    if search.num_trials is None or search.num_trials % num_variants:
        problem = (
            f"must be a multiple of {num_variants}, the variants of `search.compare`, so that each "
            f"has as many trials, got {shown(search.num_trials)}"
        )
        yield Finding(("search", "num_trials"), problem, (COMPARE, PARAMETERS))


def _fields(sweep: SweepSpec) -> Iterator[Finding]:
    compare = sweep.search.compare
    for index, path in enumerate(compare):
        parameter = sweep.search.parameters.get(path)
        if path in compare[:index]:
            yield Finding((*COMPARE, index), f"must differ from the others, got {path!r} twice")
        elif not isinstance(parameter, Choice) or parameter.ratio_of is not None:
            problem = f"must be searched over `values`, without `ratio_of`, got {path!r}"
            yield Finding((*COMPARE, index), problem, (PARAMETERS,))
        else:
            others = [other for other in parameter.when if other in sweep.search.parameters]
            if not set(others) <= set(compare):
                problem = (
                    f"must have a `when` on compared fields alone, got {', '.join(others)} for "
                    f"{path!r}"
                )
                yield Finding((*COMPARE, index), problem, (PARAMETERS,))
