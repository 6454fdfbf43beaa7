"""The rules every spec model follows."""

from __future__ import annotations

import re
from typing import Annotated, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

Scalar = bool | int | float | str
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
MAX_NAME_BYTES = 255
"""Of a file or folder, on every file system in use."""


class SpecModel(BaseModel):
    """A frozen value read from YAML: unknown keys, wrong types, NaN and infinity are refused.

    The text under each field is its documentation, in the JSON Schema too. Defaults are validated,
    so that ``64`` and ``64.0`` are one value (and one fingerprint) of a float field.
    """

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        validate_default=True,
    )


def _check_path(text: str) -> str:
    longest = max(len(part.encode()) for part in text.split("/"))
    if longest > MAX_NAME_BYTES:
        raise broken_rule(f"must have names of at most {MAX_NAME_BYTES} bytes, got {longest}")
    return text


def broken_rule(problem: str, field: str = "") -> PydanticCustomError:
    """A fault between fields of one model, for its validator to raise.

    Args:
        problem: Rule and value, e.g. ``must be in [0, 1), got 1.5``.
        field: The model's field to blame; "" blames the model as a whole.
    """
    return PydanticCustomError("broken_rule", "{problem}", {"problem": problem, "field": field})


_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")


def variable_name(name: str, secret: str) -> str:
    """Return the name of an environment variable.

    Args:
        name: As given; never shown, since it may be what should have been in the variable.
        secret: What the variable holds, e.g. ``the key``.
    """
    if _VARIABLE.fullmatch(name) is None:
        problem = "must be the name of an environment variable (A-Z, 0-9 and _), not "
        raise broken_rule(f"{problem}{secret} itself")
    return name


def by_kind(union: object) -> dict[str, type[SpecModel]]:
    """Return the models of an annotated union by the ``kind`` that tells them apart."""
    return {model.model_fields["kind"].default: model for model in get_args(get_args(union)[0])}


def as_kind(value: object) -> object:
    """``sampler: random`` is short for ``sampler: {kind: random}``."""
    return {"kind": value} if isinstance(value, str) else value


PathText = Annotated[str, AfterValidator(_check_path)]
"""A path or a URL that a file system can be asked about."""
