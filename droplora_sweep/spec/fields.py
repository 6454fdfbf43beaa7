"""The fields of a trial by dotted path, and which of them a sweep may search."""

from __future__ import annotations

from types import UnionType
from typing import TYPE_CHECKING, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

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
    "task.num_validation",
    "task.num_test",
)
"""Trials of one sweep share the base model, and are compared on the same examples."""


def _fields(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, bool]]:
    """Dotted path of every field, and whether it holds one value."""
    for name, field in model.model_fields.items():
        annotation = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            yield prefix + name, False
            yield from _fields(annotation, f"{prefix}{name}.")
        else:
            yield prefix + name, get_origin(annotation) not in (tuple, dict)


SCALAR_FIELDS = tuple(path for path, is_scalar in _fields(TrialSpec) if is_scalar)
"""Dotted path of every field of a trial that holds one value."""

COMPOUND_FIELDS = tuple(path for path, is_scalar in _fields(TrialSpec) if not is_scalar)
"""Dotted path of every section and list of a trial."""

SEARCHABLE_FIELDS = tuple(path for path in SCALAR_FIELDS if not path.startswith(SHARED))
"""Dotted path of every field that a sweep may search."""


def get_field(trial: TrialSpec, path: str) -> Scalar | None:
    """The value at a dotted path, e.g. ``adapter.rank``."""
    value: Any = trial
    for name in path.split("."):
        value = getattr(value, name)
    return value


def with_fields(trial: TrialSpec, values: Mapping[str, Scalar | None]) -> TrialSpec:
    """The trial with the values at these dotted paths.

    Raises:
        ValidationError: A value breaks a rule of its field, or of its model.
    """
    data = trial.model_dump()
    for path, value in values.items():
        *sections, name = path.split(".")
        section = data
        for part in sections:
            section = section[part]
        section[name] = value
    return TrialSpec.model_validate(data)


def field_error(trial: TrialSpec, path: str, value: Scalar) -> ErrorDetails | None:
    """What pydantic says of ``value`` in the field at ``path``; None if it is valid.

    Rules between fields are left out: they depend on the other fields' values.
    """
    section, _, name = path.rpartition(".")
    model = getattr(trial, section) if section else trial
    try:
        type(model).model_validate({**model.model_dump(), name: value})
    except ValidationError as error:
        for details in error.errors():
            if details["loc"] and details["loc"][0] == name:
                loc = (*section.split("."), *details["loc"]) if section else details["loc"]
                return {**details, "loc": loc}
    return None


def is_numeric(path: str) -> bool:
    """Whether the field at ``path`` takes numbers."""
    model: Any = TrialSpec
    for name in path.split("."):
        field = model.model_fields[name]
        model = field.annotation
    return bool({int, float} & set(_types(model)))


def _types(annotation: Any) -> Iterator[Any]:
    if get_origin(annotation) in (Union, UnionType):
        for option in get_args(annotation):
            yield from _types(option)
    else:
        yield getattr(annotation, "__origin__", annotation)
