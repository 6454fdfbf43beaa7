"""From searched values to trials, and the trials that are run first."""

from __future__ import annotations

import pytest

from droplora_sweep.errors import InputError
from droplora_sweep.spec import (
    AdapterSpec,
    Choice,
    Parameter,
    Range,
    SearchSpec,
    SweepSpec,
    active_order,
    baselines,
    grid_size,
    is_active,
    resolve,
)

PRUNING_RATE = Range(min=0.0, max=0.5, step=0.1)
ALPHA_RATIO = Choice(values=(1, 2), ratio_of="adapter.rank")


def searching(parameters: dict[str, Parameter], **trial: object) -> SweepSpec:
    return SweepSpec(name="q", search=SearchSpec(parameters=parameters), **trial)


METHODS = searching(
    {
        "adapter.pruning_rate": Range(min=0.1, max=0.5, when={"adapter.method": ("droplora",)}),
        "adapter.method": Choice(values=("droplora", "lora")),
    }
)


def test_order_is_the_files_save_for_dependencies() -> None:
    sweep = searching(
        {
            "training.learning_rate": Range(min=1e-4, max=1e-3),
            "adapter.alpha": ALPHA_RATIO,
            "adapter.mask": Choice(values=("token", "step"), when={"adapter.pruning_rate": (0.5,)}),
            "adapter.rank": Choice(values=(4, 8)),
            "adapter.pruning_rate": Choice(values=(0, 0.5)),
        }
    )

    assert active_order(sweep) == (
        "training.learning_rate",
        "adapter.rank",
        "adapter.alpha",
        "adapter.pruning_rate",
        "adapter.mask",
    )


def test_a_circle_has_no_order() -> None:
    sweep = searching({"adapter.alpha": Choice(values=(1,), ratio_of="adapter.alpha")})

    with pytest.raises(InputError, match=r"must not be circular: adapter\.alpha"):
        active_order(sweep)


def test_conditions_read_searched_values() -> None:
    assert is_active("adapter.pruning_rate", {"adapter.method": "droplora"}, METHODS)
    assert not is_active("adapter.pruning_rate", {"adapter.method": "lora"}, METHODS)


def test_conditions_read_defaults_of_fields_that_are_not_searched() -> None:
    parameters = {"adapter.mask": Choice(values=("step",), when={"adapter.rank": (8, 16)})}

    assert is_active("adapter.mask", {}, searching(parameters, adapter=AdapterSpec(rank=16)))
    assert not is_active("adapter.mask", {}, searching(parameters, adapter=AdapterSpec(rank=4)))


def test_an_inactive_field_keeps_the_trials_default() -> None:
    trial = resolve({"adapter.method": "lora"}, METHODS)

    assert (trial.adapter.method, trial.adapter.pruning_rate) == ("lora", 0.0)


def test_ratios_multiply_the_other_fields_value() -> None:
    sweep = searching({"adapter.rank": Choice(values=(4, 8)), "adapter.alpha": ALPHA_RATIO})

    assert resolve({"adapter.rank": 8, "adapter.alpha": 2}, sweep).adapter.alpha == 16
    fixed_rank = searching({"adapter.alpha": ALPHA_RATIO}, adapter=AdapterSpec(rank=4))
    assert resolve({"adapter.alpha": 2}, fixed_rank).adapter.alpha == 8


def test_stepped_values_are_exact_whatever_the_sampler_rounds() -> None:
    sweep = searching({"adapter.pruning_rate": PRUNING_RATE})

    drawn = resolve({"adapter.pruning_rate": 0.1 + 0.2}, sweep)

    assert drawn == resolve({"adapter.pruning_rate": 0.3}, sweep)


def test_what_is_not_searched_is_the_trials() -> None:
    sweep = searching({"adapter.rank": Choice(values=(4,))}, seed=7)

    assert resolve({"adapter.rank": 4}, sweep).model_dump() == {
        **sweep.trial.model_dump(),
        "adapter": {**sweep.adapter.model_dump(), "rank": 4, "alpha": 8},
    }


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({}, "adapter.method: must have a value\nadapter.pruning_rate: must have a value"),
        (
            {"adapter.method": "lora", "adapter.pruning_rate": 0.2},
            "adapter.pruning_rate: must have no value: its `when` does not hold",
        ),
        (
            {"adapter.method": "droplora", "adapter.pruning_rate": 0.6},
            "adapter.pruning_rate: must be in its domain, got 0.6",
        ),
        ({"adapter.method": "lora", "seed": 3}, "seed: is not searched"),
    ],
)
def test_values_that_mean_no_trial(values: dict[str, object], problem: str) -> None:
    with pytest.raises(InputError) as caught:
        resolve(values, METHODS)

    assert str(caught.value) == problem


def test_baselines_are_the_papers_setting_and_the_same_unpruned() -> None:
    sweep = searching(
        {
            "adapter.rank": Choice(values=(8, 16, 32, 64)),
            "adapter.alpha": ALPHA_RATIO,
            "adapter.pruning_rate": PRUNING_RATE,
            "training.learning_rate": Range(min=1e-5, max=1e-3, scale="log"),
        }
    )
    paper = {
        "adapter.rank": 32,
        "adapter.alpha": 2,
        "adapter.pruning_rate": 0.5,
        "training.learning_rate": 3e-4,
    }

    assert baselines(sweep) == (paper, {**paper, "adapter.pruning_rate": 0.0})
    assert resolve(paper, sweep).adapter == AdapterSpec(rank=32, alpha=64, pruning_rate=0.5)


def test_baselines_are_brought_into_the_space() -> None:
    sweep = searching(
        {
            "adapter.alpha": Range(min=1, max=64),
            "adapter.rank": Choice(values=(1, 4, 16)),
            "adapter.pruning_rate": Range(min=0.0, max=0.3),
            "training.learning_rate": Range(min=1e-3, max=1e-2, scale="log"),
            "training.max_grad_norm": Choice(values=(0.5, 2.0)),
        }
    )

    paper, unpruned = baselines(sweep)

    assert paper == {
        "adapter.alpha": 32,
        "adapter.rank": 16,
        "adapter.pruning_rate": 0.3,
        "training.learning_rate": 1e-3,
        "training.max_grad_norm": 0.5,
    }, "alpha stays at twice the rank; the default is kept where the paper says nothing"
    assert unpruned == {**paper, "adapter.pruning_rate": 0.0}


def test_plain_lora_is_the_unpruned_arm_where_the_rate_has_no_zero() -> None:
    assert baselines(METHODS) == (
        {"adapter.method": "droplora", "adapter.pruning_rate": 0.5},
        {"adapter.method": "lora"},
    )


def test_lora_and_droplora_stand_in_for_each_other_in_the_baselines() -> None:
    sweep = searching(
        {
            "adapter.method": Choice(values=("full", "dora", "lora")),
            "adapter.pruning_rate": Range(
                min=0.0, max=0.5, when={"adapter.method": ("dora", "lora")}
            ),
        }
    )

    assert baselines(sweep) == (
        {"adapter.method": "lora", "adapter.pruning_rate": 0.5},
        {"adapter.method": "lora", "adapter.pruning_rate": 0.0},
    )


def test_module_rates_are_what_the_pruning_rate_is_in_the_baselines() -> None:
    module = "adapter.module_pruning_rates.mlp.up_proj"
    sweep = searching({module: Range(min=0.0, max=0.8, step=0.1)}, adapter={"rank": 8})
    both = searching({module: Choice(values=(0.0, 0.3)), "adapter.pruning_rate": PRUNING_RATE})

    assert baselines(sweep) == ({module: 0.5}, {module: 0.0})
    assert baselines(both) == (
        {module: 0.3, "adapter.pruning_rate": 0.5},
        {module: 0.0, "adapter.pruning_rate": 0.0},
    )


def test_a_module_that_is_always_pruned_leaves_no_unpruned_arm() -> None:
    adapter = {"module_pruning_rates": {"q_proj": 0.1}}
    sweep = searching({"adapter.pruning_rate": PRUNING_RATE}, adapter=adapter)

    assert baselines(sweep) == ({"adapter.pruning_rate": 0.5},)


def test_a_module_rate_resolves_into_its_entry() -> None:
    module = "adapter.module_pruning_rates.layers.0.mlp.up_proj"
    adapter = {"module_pruning_rates": {"q_proj": 0.1}, "pruning_rate": 0.5}
    sweep = searching(
        {
            module: Choice(values=(0.5, 1), ratio_of="adapter.pruning_rate"),
            "adapter.lora_drop.threshold": Range(min=0.5, max=1.0),
            "adapter.dropout": Choice(values=(0.25,), when={module: (0.25,)}),
        },
        adapter=adapter,
    )
    values = {module: 0.5, "adapter.lora_drop.threshold": 0.75, "adapter.dropout": 0.25}

    assert active_order(sweep) == (module, "adapter.lora_drop.threshold", "adapter.dropout")
    trial = resolve(values, sweep)

    assert trial.adapter.module_pruning_rates == {"q_proj": 0.1, "layers.0.mlp.up_proj": 0.25}
    assert trial.adapter.lora_drop.threshold == 0.75
    assert not is_active("adapter.dropout", {**values, module: 1}, sweep)


def test_baselines_without_an_unpruned_arm() -> None:
    always_pruned = searching({"adapter.pruning_rate": Choice(values=(0.2, 0.4))})
    never_pruned = searching({"adapter.rank": Choice(values=(8, 32))})

    assert baselines(always_pruned) == ({"adapter.pruning_rate": 0.4},)
    assert baselines(never_pruned) == ({"adapter.rank": 32},)


def test_every_baseline_is_a_valid_trial() -> None:
    for sweep in (METHODS, searching({"adapter.pruning_rate": PRUNING_RATE})):
        for values in baselines(sweep):
            resolve(values, sweep)


def test_grid_size() -> None:
    rank = Choice(values=(1, 4, 16))
    conditional = Range(min=0.1, max=0.5, step=0.1, when={"adapter.method": ("droplora",)})

    assert grid_size(searching({})) == 1
    assert grid_size(searching({"adapter.rank": rank, "adapter.alpha": ALPHA_RATIO})) == 6
    assert grid_size(METHODS) is None
    assert grid_size(
        searching(
            {
                "adapter.pruning_rate": conditional,
                "adapter.method": Choice(values=("droplora", "lora")),
                "adapter.rank": rank,
            }
        )
    ) == 3 * (5 + 1)


def test_grid_size_where_a_condition_hangs_on_a_ratio() -> None:
    sweep = searching(
        {
            "adapter.mask": Choice(values=("token", "step"), when={"adapter.alpha": (8,)}),
            "adapter.alpha": ALPHA_RATIO,
            "adapter.rank": Choice(values=(4, 8, 16)),
        }
    )

    assert grid_size(sweep) == 4 + 2 * 2, "alpha is 8 for rank 4 twofold and rank 8 onefold"
