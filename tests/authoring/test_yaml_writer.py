"""The writer gives YAML with the same values, whatever they are, and lines of one width."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from droplora_sweep.authoring.yaml_writer import WIDTH, Value, written

AWKWARD = ["", "no", "1e3", "#x", "a: b", "it's", "{x}", "ünïcode", " two  spaces ", "-", "null"]


@pytest.mark.parametrize("content", [*AWKWARD, 0.0001, 3, True, None, [1, "no"], {"min": 0.5}])
@pytest.mark.parametrize("why", ["", "short", "a longer reason, " * 12])
def test_values_are_read_back_as_they_are(content: Any, why: str) -> None:
    text = written({"first": {"field": Value(content, why)}, "empty": {}, "last": Value(content)})
    assert yaml.safe_load(text) == {"first": {"field": content}, "last": content}
    assert all(len(line) <= WIDTH for line in text.splitlines())


def test_reasons_stand_behind_short_values_and_above_long_ones() -> None:
    text = written({"a": {"b": Value(1, "why"), "c": Value("x" * 60, "why not")}})
    assert text.splitlines() == [
        "a:",
        f"{'  b: 1':<40}# why",
        "  # why not",
        f"  c: {'x' * 60}",
    ]
