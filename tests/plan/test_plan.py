"""The cost of a sweep covers every method, mask and rank of its space."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import yaml

from droplora_sweep.adapters.sizes import num_trainable_parameters
from droplora_sweep.plan.plan import make_plan
from droplora_sweep.plan.survey import survey
from droplora_sweep.present.contents.plan import plan_table
from droplora_sweep.spec import AdapterSpec, load_sweep_file

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from droplora_sweep.plan.plan import Plan
    from droplora_sweep.plan.survey import Survey

NODES = [{"CPU": 4.0}]
NUM_TRIALS = 5


@pytest.fixture
def plan(tmp_path: Path) -> Any:
    """Plans a sweep of the built-in model."""

    def make(
        adapter: dict[str, Any] | None = None, training: Any = None, **parameters: Any
    ) -> tuple[Survey, Plan]:
        file = tmp_path / "s.yaml"
        data = {
            "name": "q",
            "task": {"num_train": 32, "num_validation": 8},
            "adapter": adapter or {},
            "training": training or {},
            "search": {
                "num_trials": NUM_TRIALS,
                "parameters": {
                    path.replace("__", "."): domain for path, domain in parameters.items()
                },
            },
        }
        file.write_text(yaml.safe_dump(data))
        found = survey(load_sweep_file(file))
        return found, make_plan(found, NODES)

    return make


def rows(found: Survey, plan: Plan) -> dict[str, str]:
    pairs = ([cell.text for cell in row.cells] for row in plan_table(found, plan).rows)
    return {name.strip(): value for name, value in pairs}


def test_what_runs_first_is_told_by_its_fields_not_by_ratios(plan: Any) -> None:
    found, planned = plan(
        adapter__rank={"values": [8, 16]},
        adapter__alpha={"values": [1, 2], "ratio_of": "adapter.rank"},
        adapter__pruning_rate={"values": [0.0, 0.5]},
    )
    assert set(rows(found, planned)["queued first"].split()) == {"r=16", "alpha=32", "p=0.5"}


def test_the_most_and_fewest_trained_numbers_over_methods_and_ranks(plan: Any) -> None:
    found, result = plan(
        adapter__method={"values": ["lora", "dora"]}, adapter__rank={"values": [4, 2, 8]}
    )

    ends = (AdapterSpec(rank=2), AdapterSpec(rank=8, method="dora"))
    counts = tuple(num_trainable_parameters(found.model.shapes, spec) for spec in ends)
    assert result.saved.num_trainable_parameters == counts
    assert result.saved.adapter_bytes == 4 * counts[1]


def test_gates_are_trained_where_the_mask_is_learned_and_not_saved(plan: Any) -> None:
    found, result = plan(
        {"rank": 8},
        adapter__mask={"values": ["token", "learned"]},
        **{"adapter__module_pruning_rates__up_proj": {"min": 0.0, "max": 0.5}},
    )

    plain = num_trainable_parameters(found.model.shapes, AdapterSpec(rank=8))
    assert result.saved.num_trainable_parameters == (plain, plain + 4 * 8)
    assert result.saved.adapter_bytes == 4 * plain


@pytest.mark.parametrize("method", ["pissa", "milora"])
def test_what_starts_from_the_weights_is_saved_at_twice_the_rank(plan: Any, method: str) -> None:
    _, result = plan({"method": method, "rank": 8})

    assert result.saved.adapter_bytes == 2 * 4 * result.saved.num_trainable_parameters[0]


def test_a_full_model_is_saved_where_the_method_can_be_full(plan: Any) -> None:
    found, result = plan(
        {"rank": 8}, adapter__method={"values": ["lora", "full"]}, adapter__dropout={"values": [0]}
    )
    num_parameters = found.model.num_parameters

    assert result.saved.full_model_bytes == 4 * num_parameters
    assert result.saved.num_trainable_parameters[1] == num_parameters
    assert result.saved.adapter_bytes == 4 * result.saved.num_trainable_parameters[0]
    assert result.saved.disk_bytes == 2 * result.num_trials * 4 * num_parameters
    shown = rows(found, result)
    assert shown["full models"] == "each trial with method full saves the whole model, 4.1 MB"
    assert shown["disk"] == "229.4 kB for the largest adapter, at most 16.3 MB for all"


def test_a_sweep_of_full_models_alone_has_no_adapter(plan: Any) -> None:
    found, result = plan({"method": "full"}, training__learning_rate={"min": 1e-5, "max": 1e-3})

    assert result.saved.adapter_bytes is None
    assert rows(found, result)["disk"] == "at most 40.7 MB for all"


def test_a_sweep_of_adapters_alone_has_no_full_model(plan: Any) -> None:
    found, result = plan({"rank": 8})

    assert result.saved.full_model_bytes is None
    assert "full models" not in rows(found, result)


def test_steps_span_epochs_and_batch_sizes(plan: Any) -> None:
    _, result = plan(
        training__epochs={"values": [3, 1]}, training__global_batch_size={"values": [8, 16, 32]}
    )

    assert result.num_steps == (3, 36)


def test_code_of_the_model_is_named_where_it_would_be_run(tmp_path: Path) -> None:
    note = "model.trust_remote_code is true: Python code that comes with builtin is run"
    file = tmp_path / "s.yaml"
    file.write_text("name: q\ntask: {num_train: 32, num_validation: 8}\n")
    for overrides, notes in (([], ()), (["model.trust_remote_code=true"], (note,))):
        found = survey(load_sweep_file(file, overrides))
        assert make_plan(found, NODES).notes == notes


def test_the_learning_rates_that_trials_reach(plan: Any) -> None:
    found, result = plan(
        training={"epochs": 1, "global_batch_size": 8},
        training__learning_rate={"values": [1e-4, 1e-3]},
        training__warmup_ratio={"values": [0.0, 0.5]},
    )
    # 3 built-in benchmarks of 32 examples: 12 steps, of which up to 6 warm up.
    assert result.num_steps == (12, 12)
    expected = "peak 0.0001 to 0.001 after 0 to 6 steps of warmup, last 8.33e-06 to 0.000167"
    assert rows(found, result)["learning rate"] == expected


def test_a_warmup_of_more_steps_than_a_trial_has_is_cut_and_said(plan: Any) -> None:
    training = {"epochs": 1, "global_batch_size": 32, "warmup_steps": 100, "learning_rate": 1e-3}
    found, result = plan(training=training)

    assert rows(found, result)["learning rate"] == (
        "peak 0.001 after 2 steps of warmup, last 0.001"
    )
    assert result.notes == (
        "training.warmup_steps: 100 are more than a trial of 3 steps has before its last, so 2 "
        "warm up; training.warmup_ratio is a share of the trial's steps",
    )
