"""The rules every spec model follows."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

Scalar = bool | int | float | str
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]


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


def broken_rule(problem: str, field: str = "") -> PydanticCustomError:
    """A fault between fields of one model, for its validator to raise.

    Args:
        problem: Rule and value, e.g. ``must be in [0, 1), got 1.5``.
        field: The model's field to blame; "" blames the model as a whole.
    """
    return PydanticCustomError("broken_rule", "{problem}", {"problem": problem, "field": field})
