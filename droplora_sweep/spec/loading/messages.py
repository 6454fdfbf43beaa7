"""Faults that pydantic found, in the project's words: one line that gives the rule and the value.

The names that other programs have for a field are known by heart, since spelling does not lead from
them to ours: ``lora_dropout`` is nearer to ``lora_drop``.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any, Final, get_args

from pydantic.fields import FieldInfo

from droplora_sweep.spec.fields import COMPOUND_FIELDS, SCALAR_FIELDS, mapping_of, nested_model
from droplora_sweep.spec.parameters import Choice, Range
from droplora_sweep.spec.search import SAMPLERS, STOPPING_RULES
from droplora_sweep.spec.sweep import SweepSpec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pydantic import BaseModel
    from pydantic_core import ErrorDetails

    from .yaml_text import Path


OTHER_NAMES: Final = {
    "adapter.method": "init_lora_weights lora_type peft_type use_dora use_rslora",
    "adapter.rank": "lora_dim lora_r lora_rank r",
    "adapter.alpha": "lora_alpha lora_scale",
    "adapter.dropout": "lora_dropout",
    "adapter.pruning_rate": "drop_rate p prune_rate pruning pruning_ratio",
    "adapter.layers": "layers_to_transform lora_layers",
    "adapter.module_alphas": "alpha_pattern",
    "adapter.module_ranks": "rank_pattern",
    "adapter.modules_to_save": "additional_target lora_modules_to_save",
    "adapter.target_modules": "lora_target lora_target_modules targets",
    "evaluation.batch_size": "eval_batch_size per_device_eval_batch_size",
    "evaluation.max_new_tokens": "max_tokens",
    "evaluation.num_evaluations": "eval_steps",
    "group.num_workers": "num_gpus num_processes world_size",
    "model.dtype": "bf16 fp16 precision torch_dtype",
    "model.path": "base_model model_id model_name model_name_or_path",
    "model.quantization": "load_in_4bit load_in_8bit quantization_bit",
    "search.num_trials": "max_trials n_trials num_samples",
    "search.num_startup_trials": "n_startup_trials",
    "search.stopping": "early_stopping pruner scheduler",
    "storage": "output_dir results_dir",
    "task.benchmarks": "eval_dataset tasks",
    "task.data": "data_dir data_path dataset dataset_dir dataset_path",
    "task.num_train": "max_samples max_train_samples",
    "training.epochs": "num_epochs num_train_epochs",
    "training.global_batch_size": "batch_size total_batch_size train_batch_size",
    "training.gradient_checkpointing": "use_gradient_checkpointing",
    "training.learning_rate": "lr",
    "training.learning_rate_schedule": "lr_scheduler lr_scheduler_type",
    "training.lora_plus_ratio": "loraplus_lr_ratio loraplus_ratio",
    "training.max_grad_norm": "clip_grad_norm gradient_clipping max_norm",
    "training.max_sequence_tokens": (
        "block_size cutoff_len max_length max_seq_length model_max_length sequence_len"
    ),
    "training.optimizer": "optim optimizer_type",
    "training.micro_batch_size": ("per_device_train_batch_size train_micro_batch_size_per_gpu"),
    "training.warmup_steps": "num_warmup_steps",
    "seed": "random_seed random_state",
}

_OURS: Final = {name: ours for ours, names in OTHER_NAMES.items() for name in names.split()}


def ours_of(name: str) -> str | None:
    """Dotted path of the field that other programs call so; None if it is no such name.

    >>> ours_of("lora_dropout"), ours_of("r"), ours_of("rank")
    ('adapter.dropout', 'adapter.rank', None)
    """
    return _OURS.get(name.lower())


MAX_SHOWN_CHARACTERS = 60

_UNIONS: dict[Path, Mapping[str, type[BaseModel]]] = {
    ("search", "stopping"): STOPPING_RULES,
    ("search", "sampler"): SAMPLERS,
}
_DOMAINS: dict[str, type[BaseModel]] = {"choice": Choice, "range": Range}
_PARAMETERS: Path = ("search", "parameters")

_TYPE_RULES = {
    "int_type": "must be an integer",
    "int_from_float": "must be an integer",
    "float_type": "must be a number",
    "string_type": "must be text",
    "bool_type": "must be true or false",
    "finite_number": "must be a finite number",
    "tuple_type": "must be a list",
    "dict_type": "must be a mapping",
    "model_type": "must be a mapping",
    "model_attributes_type": "must be a mapping",
    "string_pattern_mismatch": (
        "must be 1 to 64 letters, digits, `.`, `_` or `-`, beginning with a letter or digit"
    ),
}
_BOUND_ERRORS = {"greater_than", "greater_than_equal", "less_than", "less_than_equal"}


def shown(value: object) -> str:
    """The value as YAML would have it, cut to one short line."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    text = repr(value)
    return text if len(text) <= MAX_SHOWN_CHARACTERS else text[: MAX_SHOWN_CHARACTERS - 3] + "..."


def translate(details: ErrorDetails) -> tuple[Path, str]:
    """Path and problem of one pydantic error in a ``SweepSpec``."""
    loc, kind = details["loc"], details["type"]
    path = _without_tags(loc)
    if kind == "broken_rule":
        field = details["ctx"]["field"]
        return (*path, field) if field else path, details["ctx"]["problem"]
    if kind == "missing":
        return path, "must be given"
    if kind == "extra_forbidden":
        return path, _unknown_key(loc)
    return path, f"{_rule(details)}, got {shown(details['input'])}"


def suggestion(name: str, known: tuple[str, ...]) -> str | None:
    """The known dotted path that ``name`` was probably meant to be; None if none is near."""
    leaf = name.rpartition(".")[2]
    if (ours := ours_of(leaf)) in known:
        return ours
    named_so = [path for path in known if path.endswith(f".{leaf}")]
    if len(named_so) == 1:
        return named_so[0]
    return next(iter(difflib.get_close_matches(name, known, n=1, cutoff=0.6)), None)


def nearest_key(loc: Path) -> Path | None:
    """Path of the known key that an unknown one was probably meant to be."""
    key, section = str(loc[-1]), _without_tags(loc[:-1])
    known = _keys(_model_at(loc[:-1]))
    if (ours := _path_of_other(key, section)) is not None:
        return ours
    elsewhere = [path for path in (*SCALAR_FIELDS, *COMPOUND_FIELDS) if path.endswith(f".{key}")]
    if len(elsewhere) == 1:
        return tuple(elsewhere[0].split("."))
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.6)
    return (*section, near[0]) if near else None


def _keys(model: type[BaseModel]) -> tuple[str, ...]:
    """Keys of a section as files have them."""
    return tuple(field.alias or name for name, field in model.model_fields.items())


def _path_of_other(key: str, section: Path) -> Path | None:
    """The field that other programs call so, unless the section is no part of a trial's."""
    ours = ours_of(key)
    if ours is None or len(section) > 1:
        return None
    return tuple(ours.split("."))


def _rule(details: ErrorDetails) -> str:
    kind, context = details["type"], details.get("ctx", {})
    if kind == "no_domain":
        return details["msg"]
    if kind == "literal_error":
        return f"must be {context['expected']}"
    if kind == "too_short":
        return "must not be empty"
    if (kinds := _UNIONS.get(tuple(details["loc"]))) is not None:
        *others, last = kinds
        return f"must have a `kind`: {', '.join(others)} or {last}"
    field = _field_at(details["loc"])
    if kind in _BOUND_ERRORS and field is not None:
        return _bounds_rule(field)
    rule = _TYPE_RULES.get(kind)
    if rule is None:
        return details["msg"][0].lower() + details["msg"][1:]
    nullable = field is not None and type(None) in get_args(field.annotation)
    return f"{rule} or null" if nullable else rule


def _unknown_key(loc: Path) -> str:
    model, key = _model_at(loc[:-1]), str(loc[-1])
    if model is Choice and key in Range.model_fields:
        return "unknown key beside `values`"
    near = nearest_key(loc)
    if near is None:
        return f"unknown key, known ones are {', '.join(_keys(model))}"
    name = near[-1] if near[:-1] == _without_tags(loc[:-1]) else ".".join(map(str, near))
    return f"unknown key, did you mean `{name}`?"


def _bounds_rule(field: FieldInfo) -> str:
    bounds = {
        name: getattr(bound, name)
        for bound in _bounds(field)
        for name in ("ge", "gt", "le", "lt")
        if hasattr(bound, name)
    }
    below, above = {"ge": "[", "gt": "("}, {"le": "]", "lt": ")"}
    if below.keys() & bounds and above.keys() & bounds:
        opening = "".join(f"{mark}{bounds[name]}" for name, mark in below.items() if name in bounds)
        closing = "".join(f"{bounds[name]}{mark}" for name, mark in above.items() if name in bounds)
        return f"must be in {opening}, {closing}"
    words = {"ge": "at least", "gt": "greater than", "le": "at most", "lt": "less than"}
    [(name, bound)] = bounds.items()
    return f"must be {words[name]} {bound}"


def _bounds(annotated: Any) -> Iterator[Any]:
    """The bounds of a field, also where they belong to a member of a union."""
    if isinstance(annotated, FieldInfo):
        yield from annotated.metadata
        yield from _bounds(annotated.annotation)
    for argument in (*get_args(annotated), *getattr(annotated, "__metadata__", ())):
        yield from _bounds(argument)


def _without_tags(loc: Path) -> Path:
    """The path in the file: parents of a tag are unions, so no key of the file is dropped."""
    kept = [part for index, part in enumerate(loc) if _variant(loc[: index + 1]) is None]
    if tuple(kept[:2]) == ("task", "benchmark_specs"):
        # A spec is given in the mapping form of ``benchmarks``.
        kept[1] = "benchmarks"
        if kept[-1] == "[key]":
            kept.pop()
    return tuple(kept)


def _variant(loc: Path) -> type[BaseModel] | None:
    """The model that a path ends at the tag of: pydantic puts a union's tag into the path."""
    *parent, last = loc
    if tuple(parent) in _UNIONS:
        return _UNIONS[tuple(parent)].get(str(last))
    if len(parent) == len(_PARAMETERS) + 1 and tuple(parent[:-1]) == _PARAMETERS:
        return _DOMAINS.get(str(last))
    return None


def _model_at(loc: Path) -> type[BaseModel]:
    model: type[BaseModel] = SweepSpec
    for index, part in enumerate(loc):
        if (variant := _variant(loc[: index + 1])) is not None:
            model = variant
        elif part in model.model_fields:
            model = nested_model(model.model_fields[str(part)].annotation) or model
    return model


def _field_at(loc: Path) -> FieldInfo | None:
    """The field at a place; for an entry of a mapping the mapping, which holds its bounds."""
    mapping = mapping_of(".".join(map(str, loc)))
    if mapping is not None:
        loc = tuple(mapping.split("."))
    names = [
        part
        for index, part in enumerate(loc)
        if isinstance(part, str) and _variant(loc[: index + 1]) is None
    ]
    model = _model_at(loc[: loc.index(names[-1])]) if names else SweepSpec
    fields = model.model_fields.items() if names else ()
    return next((field for name, field in fields if names[-1] in (name, field.alias)), None)
