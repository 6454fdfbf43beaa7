"""The fields of a trial by dotted path, and which of them a sweep may search.

The entries of a mapping are fields too: ``adapter.module_pruning_rates.<module>``, whatever the
module; it may hold dots itself.
"""

from __future__ import annotations

from types import UnionType
from typing import TYPE_CHECKING, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from .targets import field_text
from .trial import TrialSpec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pydantic_core import ErrorDetails

    from .base import Scalar

SHARED = (
    "model.",
    "task.name",
    "task.data",
    "task.revision",
    "task.prompt",
    "task.scoring",
    "task.num_validation",
    "task.num_confirmation",
    "task.num_test",
    "evaluation.split",
    "evaluation.protocol",
    "evaluation.choice",
    "evaluation.likelihood",
    "evaluation.held_out_text",
    "evaluation.on_long_prompt",
    "evaluation.backend",
    "evaluation.vllm_memory_share",
    "evaluation.static_cache",
    "training.zero.",
    "task.on_overlap",
    "task.on_bad_record",
)
"""Trials of one sweep share the base model, with how it is split, and are compared on the same
examples."""


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _types(annotation: Any) -> Iterator[Any]:
    if get_origin(annotation) in (Union, UnionType):
        for option in get_args(annotation):
            yield from _types(option)
    else:
        yield getattr(annotation, "__origin__", annotation)


def nested_model(annotation: Any) -> type[BaseModel] | None:
    """The one model that a field may hold, be it optional, in a list or in a mapping; else None."""
    if get_origin(annotation) is dict:
        annotation = get_args(annotation)[1]
    elif get_origin(annotation) is tuple:
        annotation = get_args(annotation)[0]
    found = {option for option in _types(annotation) if _is_model(option)}
    return found.pop() if len(found) == 1 else None


def _fields(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted path of every field, and what kind of value it holds: ``object`` is one value."""
    for name, field in model.model_fields.items():
        annotation = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            yield prefix + name, BaseModel
            yield from _fields(annotation, f"{prefix}{name}.")
        else:
            origin = get_origin(annotation)
            kind = origin if origin in (tuple, dict) else object
            yield prefix + name, BaseModel if nested_model(annotation) else kind


SCALAR_FIELDS = tuple(path for path, kind in _fields(TrialSpec) if kind is object)
"""Dotted path of every field of a trial that holds one value; entries of mappings come on top."""

MAPPING_FIELDS = tuple(path for path, kind in _fields(TrialSpec) if kind is dict)
"""Dotted path of every mapping of a trial, whose entries hold one value each."""

COMPOUND_FIELDS = tuple(path for path, kind in _fields(TrialSpec) if kind is not object)
"""Dotted path of every section, list and mapping of a trial."""

SEARCHABLE_FIELDS = tuple(path for path in SCALAR_FIELDS if not path.startswith(SHARED))
"""Dotted path of every field that a sweep may search; entries of mappings come on top."""


def mapping_of(path: str) -> str | None:
    """The mapping that the field at ``path`` is an entry of; None if it is no entry."""
    return next(
        (
            field
            for field in MAPPING_FIELDS
            if len(path) > len(field) + 1 and path.startswith(f"{field}.")
        ),
        None,
    )


def split_path(path: str) -> tuple[str, ...]:
    """The keys that a dotted path means: all that follows a mapping is one key.

    >>> split_path("adapter.rank"), split_path("adapter.module_pruning_rates.mlp.up_proj")
    (('adapter', 'rank'), ('adapter', 'module_pruning_rates', 'mlp.up_proj'))
    """
    mapping = mapping_of(path)
    if mapping is None:
        return tuple(path.split("."))
    return (*mapping.split("."), path[len(mapping) + 1 :])


def is_scalar_field(path: str) -> bool:
    """Return whether a trial has a field of one value at ``path``, be it an entry of a mapping."""
    return path in SCALAR_FIELDS or mapping_of(path) is not None


def is_searchable(path: str) -> bool:
    """Return whether a sweep may search the field at ``path``."""
    return is_scalar_field(path) and not path.startswith(SHARED)


def get_field(trial: TrialSpec, path: str) -> Scalar | None:
    """The value at a dotted path, e.g. ``adapter.rank``; None for an entry that is not there.

    A list that can be searched is one text (see `targets`).
    """
    value: Any = trial
    for name in split_path(path):
        value = value.get(name) if isinstance(value, dict) else getattr(value, name)
    found: Scalar | None = field_text(path, value)
    return found


def with_fields(trial: TrialSpec, values: Mapping[str, Scalar | None]) -> TrialSpec:
    """The trial with the values at these dotted paths.

    Raises:
        ValidationError: A value breaks a rule of its field, or of its model.
    """
    data = trial.model_dump()
    for path, value in values.items():
        *sections, name = split_path(path)
        section = data
        for part in sections:
            section = section[part]
        section[name] = value
    return TrialSpec.model_validate(data)


def field_error(trial: TrialSpec, path: str, value: Scalar) -> ErrorDetails | None:
    """Return pydantic's error of ``value`` in the field at ``path``; None if it is valid.

    Rules between fields are left out: they depend on the other fields' values.
    """
    keys = split_path(path)
    try:
        with_fields(trial, {path: value})
    except ValidationError as error:
        for details in error.errors():
            if details["loc"][: len(keys)] == keys:
                return details
    return None


def is_numeric(path: str) -> bool:
    """Return whether the field at ``path`` takes numbers."""
    annotation: Any = TrialSpec
    for name in split_path(path):
        if get_origin(annotation) is dict:
            annotation = get_args(annotation)[1]
        else:
            annotation = annotation.model_fields[name].annotation
    return bool({int, float} & set(_types(annotation)))
