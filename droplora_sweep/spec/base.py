"""The rules every spec model follows."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class SpecModel(BaseModel):
    """A frozen value read from YAML: unknown keys, wrong types, NaN and infinity are refused.

    The text under each field is its documentation, in the JSON Schema too.
    """

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )
