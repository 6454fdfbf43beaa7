"""Names of MLflow experiments: each is also the name of a folder of artifacts."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from droplora_sweep.spec import SweepSpec


@pytest.mark.parametrize("name", ["mine", "team/lora", "/Users/ann@example.org/lora", "a b", "é.x"])
def test_names_and_paths_of_names_are_taken(name: str) -> None:
    spec = SweepSpec.model_validate({"name": "s", "tracking": {"experiment": name}})
    assert spec.tracking.experiment == name


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("", "must be one name, or names joined by `/`"),
        ("../elsewhere", "must be one name, or names joined by `/`"),
        ("a/./b", "must be one name, or names joined by `/`"),
        ("a//b", "must be one name, or names joined by `/`"),
        ("a/", "must be one name, or names joined by `/`"),
        ("a\nb", "must be one name, or names joined by `/`"),
        ("x" * 251, "must have at most 250 characters, got 251"),
        ("é" * 130, "must have names of at most 255 bytes, got 260"),
    ],
)
def test_what_is_no_folder_s_name_is_refused(name: str, rule: str) -> None:
    with pytest.raises(ValidationError) as caught:
        SweepSpec.model_validate({"name": "s", "tracking": {"experiment": name}})
    assert rule in str(caught.value)
