"""Pruning rates by layer, and the fields of a trial by dotted path."""

from __future__ import annotations

import re

import pytest

from droplora_sweep.spec import AdapterSpec, TrialSpec, json_schema
from droplora_sweep.spec.fields import (
    field_error,
    get_field,
    is_numeric,
    is_scalar_field,
    is_searchable,
    split_path,
    with_fields,
)

MODULE = "adapter.module_pruning_rates.mlp.up_proj"


@pytest.mark.parametrize(
    ("module", "rate"),
    [
        ("model.layers.0.mlp.up_proj", 0.2),
        ("model.layers.1.mlp.up_proj", 0.1),
        ("model.layers.1.other.up_proj", 0.3),
        ("model.layers.1.mlp.eup_proj", 0.5),
        ("up_proj", 0.3),
    ],
)
def test_the_longest_name_that_matches_gives_the_rate(module: str, rate: float) -> None:
    rates = {"up_proj": 0.3, "mlp.up_proj": 0.1, "model.layers.0.mlp.up_proj": 0.2}
    adapter = AdapterSpec(pruning_rate=0.5, module_pruning_rates=rates)

    assert adapter.pruning_rate_of(module) == rate


def test_what_is_pruned() -> None:
    assert AdapterSpec(pruning_rate=0.1).is_pruned
    assert AdapterSpec(module_pruning_rates={"q_proj": 0.1}).is_pruned
    assert not AdapterSpec(module_pruning_rates={"q_proj": 0.0}).is_pruned
    assert not AdapterSpec(method="full", pruning_rate=0.1).is_pruned


def test_an_entry_of_a_mapping_is_a_field() -> None:
    trial = with_fields(TrialSpec(), {MODULE: 0.25, "adapter.lora_drop.threshold": 0.5})

    assert trial.adapter.module_pruning_rates == {"mlp.up_proj": 0.25}
    assert trial.adapter.lora_drop.threshold == 0.5
    assert get_field(trial, MODULE) == 0.25
    assert get_field(TrialSpec(), MODULE) is None
    assert split_path(MODULE) == ("adapter", "module_pruning_rates", "mlp.up_proj")
    assert is_scalar_field(MODULE)
    assert is_searchable(MODULE)
    assert is_numeric(MODULE)
    assert field_error(trial, MODULE, 0.5) is None
    details = field_error(trial, MODULE, 1)
    assert details is not None
    assert details["loc"] == split_path(MODULE)


@pytest.mark.parametrize("path", ["adapter.module_pruning_rates", "adapter.module_pruning_rates."])
def test_a_mapping_itself_is_no_field_of_one_value(path: str) -> None:
    assert not is_scalar_field(path)


def test_the_schema_knows_nested_fields_and_entries() -> None:
    parameters = json_schema()["$defs"]["SearchSpec"]["properties"]["parameters"]
    known, pattern, *of_other_mappings = parameters["propertyNames"]["anyOf"]

    assert "adapter.lora_drop.threshold" in known["enum"]
    assert re.search(pattern["pattern"], MODULE)
    assert not re.search(pattern["pattern"], "adapter.module_pruning_rates")
    assert not re.search(pattern["pattern"], "adapter.module_pruning_ratesx.q_proj")
    others = ("adapter.module_ranks.q_proj", "adapter.module_alphas.q_proj")
    for other, path in zip(of_other_mappings, others, strict=True):
        assert re.search(other["pattern"], path)
