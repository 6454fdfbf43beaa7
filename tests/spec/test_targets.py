"""Targets and layers as a file gives them, and as the one text that a search draws."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from droplora_sweep.spec import AdapterSpec, SweepSpec, TrialSpec
from droplora_sweep.spec.fields import get_field, with_fields
from droplora_sweep.spec.loading.messages import translate
from droplora_sweep.spec.space import all_settings, drawn_values, resolve
from droplora_sweep.spec.trial import TrainingSpec, fingerprint
from droplora_sweep.training.population import identity_of, shared_identity
from tests.training.test_identity import TRIAL

TARGETS = "adapter.target_modules"


@pytest.mark.parametrize(
    ("given", "read", "text"),
    [
        (["q_proj", "v_proj"], ("q_proj", "v_proj"), "q_proj, v_proj"),
        ("q_proj,  v_proj", ("q_proj", "v_proj"), "q_proj, v_proj"),
        ("mlp.up_proj", ("mlp.up_proj",), "mlp.up_proj"),
        ("all-linear", "all-linear", "all-linear"),
        (["all-linear"], "all-linear", "all-linear"),
        (r".*\.(q|v)_proj", r".*\.(q|v)_proj", r".*\.(q|v)_proj"),
    ],
)
def test_targets_are_read(given: Any, read: Any, text: str) -> None:
    trial = TrialSpec(adapter=AdapterSpec(target_modules=given))
    assert trial.adapter.target_modules == read
    assert get_field(trial, TARGETS) == text
    assert with_fields(TrialSpec(), {TARGETS: text}) == trial
    assert TrialSpec.model_validate_json(trial.model_dump_json()) == trial


@pytest.mark.parametrize(
    ("given", "read", "text"),
    [
        ("all", "all", "all"),
        ([3, 0, 1, 1], (0, 1, 3), "0-1, 3"),
        ("0-2, 8", (0, 1, 2, 8), "0-2, 8"),
        (5, (5,), "5"),
        (["0-1", 7], (0, 1, 7), "0-1, 7"),
    ],
)
def test_layers_are_read(given: Any, read: Any, text: str) -> None:
    trial = TrialSpec(adapter=AdapterSpec(layers=given))
    assert trial.adapter.layers == read
    assert get_field(trial, "adapter.layers") == text
    assert with_fields(TrialSpec(), {"adapter.layers": text}) == trial


NUMBERS = "must be all, or numbers of layers from 0 on, as in [0, 1] or 0-7, got "
BROKEN = {
    "no_targets": ({"target_modules": []}, "must not be empty, got []"),
    "blank_targets": ({"target_modules": " "}, "must not be empty, got ' '"),
    "number_as_target": (
        {"target_modules": [1]},
        "must be a list of names, all-linear or a regular expression, got [1]",
    ),
    "broken_expression": (
        {"target_modules": "(q|v"},
        "must be a regular expression where it is no list of names, got '(q|v': missing ), "
        "unterminated subpattern at position 0",
    ),
    "negative_layer": ({"layers": [-1]}, f"{NUMBERS}[-1]"),
    "layers_backwards": ({"layers": "7-0"}, f"{NUMBERS}'7-0'"),
    "no_layers": ({"layers": []}, f"{NUMBERS}[]"),
    "null_layers": ({"layers": None}, f"{NUMBERS}null"),
    "true_layers": ({"layers": True}, f"{NUMBERS}True"),
    "layer_of_a_half": ({"layers": [0.5]}, f"{NUMBERS}[0.5]"),
    "no_rank": ({"module_ranks": {"q_proj": 0}}, "must be at least 1, got 0"),
    "no_alpha": ({"module_alphas": {"q_proj": 0.0}}, "must be greater than 0, got 0.0"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_neither_is_refused(name: str) -> None:
    fields, problem = BROKEN[name]
    with pytest.raises(ValidationError) as caught:
        SweepSpec.model_validate({"name": "q", "adapter": fields})
    [details] = caught.value.errors()
    assert translate(details)[1] == problem


def test_lists_are_values_of_a_search() -> None:
    parameters = {
        TARGETS: {"values": [["q_proj", "v_proj"], "all-linear", r".*\.q_proj"]},
        "adapter.layers": {
            "values": ["all", [0, 1], "2-3"],
            "when": {TARGETS: [["q_proj", "v_proj"], "all-linear"]},
        },
        "adapter.module_ranks.q_proj": {"values": [2, 4]},
    }
    search = {"sampler": "grid", "parameters": parameters}
    sweep = SweepSpec.model_validate({"name": "q", "search": search})
    settings = list(all_settings(sweep))
    assert len(settings) == (2 * 3 + 1) * 2
    assert {one[TARGETS] for one in settings} == {"q_proj, v_proj", "all-linear", r".*\.q_proj"}
    trials = [resolve(one, sweep) for one in settings]
    assert [drawn_values(trial, sweep) for trial in trials] == settings
    assert {trial.adapter.layers for trial in trials} == {"all", (0, 1), (2, 3)}
    assert SweepSpec.model_validate_json(sweep.model_dump_json()) == sweep


def test_one_list_twice_is_refused_however_it_is_written() -> None:
    values = [["q_proj", "v_proj"], "q_proj,v_proj"]
    search = {"parameters": {TARGETS: {"values": values}}}
    with pytest.raises(ValidationError, match="must differ from each other, got 'q_proj, v_proj'"):
        SweepSpec.model_validate({"name": "q", "search": search})


CHANGES: dict[str, dict[str, Any]] = {
    "layers": {"adapter.layers": "0-3"},
    "targets": {TARGETS: "all-linear"},
    "schedule": {"training.learning_rate_schedule": "cosine"},
    "ratio": {"training.lora_plus_ratio": 16.0},
    "optimizer": {"training.optimizer": "adamw_8bit"},
    "rank": {"adapter.module_ranks.q_proj": 8},
    "alpha": {"adapter.module_alphas.q_proj": 8.0},
}


@pytest.mark.parametrize("name", CHANGES)
def test_each_counts_in_what_a_trial_is_known_by(name: str) -> None:
    def known_by(trial: TrialSpec) -> tuple[str, str, str]:
        return (
            fingerprint(trial, {}, {}, num_workers=1),
            identity_of(trial, 8),
            shared_identity(trial, 8),
        )

    changed = with_fields(TRIAL, CHANGES[name])
    assert all(one != other for one, other in zip(known_by(changed), known_by(TRIAL), strict=True))


def test_a_fingerprint_is_what_the_version_before_computed() -> None:
    # Computed by the version before layers, ranks of modules and schedules.
    expected = "8e5242f5903abfae55692be5c6b50b35f7d3689a088952111acbf41158fbadca"
    assert fingerprint(TRIAL, {}, {}, num_workers=1) == expected
    assert "learning_rate_schedule" not in TrainingSpec().canonical()
