"""JSON Schema of a search-space file, for editors; rules between fields are the loader's alone.

``make schema`` writes the copy in ``search_spaces/``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from ._layers import EXTENDS, EXTENDS_DOC
from .fields import MAPPING_FIELDS, SCALAR_FIELDS, SEARCHABLE_FIELDS
from .sweep import SweepSpec

if TYPE_CHECKING:
    from collections.abc import Sequence


def json_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of a search-space file, each key with its documentation."""
    schema = SweepSpec.model_json_schema()
    _clean(schema)
    definitions = schema["$defs"]
    _allow_mapping(definitions["TaskSpec"]["properties"]["benchmarks"])
    parameters = definitions["SearchSpec"]["properties"]["parameters"]
    parameters["propertyNames"] = _paths(SEARCHABLE_FIELDS)
    for domain in ("Choice", "Range"):
        properties = definitions[domain]["properties"]
        properties["when"]["propertyNames"] = _paths(SCALAR_FIELDS)
    names = {"type": "array", "items": {"type": "string"}}
    schema["properties"][EXTENDS] = {
        "anyOf": [{"type": "string"}, names],
        "description": EXTENDS_DOC,
    }
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _allow_mapping(benchmarks: dict[str, Any]) -> None:
    """``task.benchmarks`` is a list of names, or a mapping of names to specs or null."""
    listed = {key: benchmarks.pop(key) for key in ("type", "items", "minItems")}
    spec = {"anyOf": [{"$ref": "#/$defs/BenchmarkSpec"}, {"type": "null"}]}
    mapping = {"type": "object", "minProperties": 1, "additionalProperties": spec}
    benchmarks["anyOf"] = [listed, mapping]


def _paths(fields: Sequence[str]) -> dict[str, Any]:
    """These fields, or any entry of a mapping."""
    patterns = [{"pattern": f"^{re.escape(mapping)}\\..+$"} for mapping in MAPPING_FIELDS]
    return {"anyOf": [{"enum": list(fields)}, *patterns]}


def _clean(node: Any) -> None:
    """Drop titles that only repeat a key, and show descriptions as one paragraph of Markdown."""
    if isinstance(node, list):
        for item in node:
            _clean(item)
    if not isinstance(node, dict):
        return
    if isinstance(node.get("title"), str):
        del node["title"]
    if isinstance(node.get("description"), str):
        node["description"] = " ".join(node["description"].replace("``", "`").split())
    for item in node.values():
        _clean(item)
