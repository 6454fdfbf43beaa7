"""Settings of a search: samplers, stopping rules, objectives, budgets, warm start."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from droplora_sweep.spec import (
    AshaSpec,
    DecideSpec,
    GpSpec,
    NoStoppingSpec,
    Nsga2Spec,
    RandomSpec,
    SweepSpec,
    TpeSpec,
    file_notes,
    load_sweep,
    trial_limit,
)
from droplora_sweep.spec.search import STOPPING_RULES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Refusal = Callable[..., list[str]]

RATE = "adapter.pruning_rate"
RANGE = {"min": 0.0, "max": 0.5}
STEPPED = {"min": 0.0, "max": 0.5, "step": 0.1}


def make(**search: Any) -> SweepSpec:
    return SweepSpec.model_validate({"name": "q", "search": search})


def test_a_sampler_is_a_name_or_a_mapping_with_options(tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_text("name: q\nsearch:\n  sampler: random\n")
    assert load_sweep(file).search.sampler == RandomSpec()
    assert load_sweep(file, ["search.sampler=tpe"]).search.sampler == TpeSpec()
    changed = load_sweep(file, ["search.sampler={kind: gp, deterministic: true}"])
    assert changed.search.sampler == GpSpec(deterministic=True)


def test_a_stopping_rule_is_a_name_or_a_mapping_with_options(tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_text("name: q\nsearch:\n  stopping: none\n")
    assert load_sweep(file).search.stopping == NoStoppingSpec()
    for kind, rule in STOPPING_RULES.items():
        assert load_sweep(file, [f"search.stopping={kind}"]).search.stopping == rule()
    given = ["search.stopping=asha", "search.stopping.reduction_factor=2"]
    assert load_sweep(file, given).search.stopping == AshaSpec(reduction_factor=2)
    given = ["search.sampler=nsga2", "search.sampler.population_size=4"]
    assert load_sweep(file, given).search.sampler == Nsga2Spec(population_size=4)


@pytest.mark.parametrize(
    ("search", "limit"),
    [
        ({}, 12),
        ({"num_trials": 3}, 3),
        ({"num_trials": 3, "budget": {"gpu_hours": 1.0}}, 3),
        ({"budget": {"gpu_hours": 1.0}}, None),
        ({"budget": {"wall_clock_hours": 0.5}}, None),
        ({"budget": {"target_score": 0.5}}, 12),
        ({"sampler": "grid", "parameters": {RATE: STEPPED}}, 6),
        ({"sampler": "grid", "num_trials": 4, "parameters": {RATE: STEPPED}}, 4),
    ],
)
def test_how_many_trials_a_search_has(search: dict[str, Any], limit: int | None) -> None:
    assert trial_limit(make(**search)) == limit


CONDITIONAL = (
    "  parameters:\n"
    "    adapter.method: {values: [dora, full]}\n"
    "    adapter.pruning_rate: {min: 0.0, max: 0.5, step: 0.1, when: {adapter.method: dora}}\n"
)

FAULTS = {
    "unknown_sampler": (
        "search:\n  sampler: bayes\n",
        "s.yaml:3: search.sampler: must have a `kind`: decide, tpe, gp, cma_es, random, "
        "quasi_random, grid, nsga2 or optuna, got {'kind': 'bayes'}",
    ),
    "unknown_stopping": (
        "search:\n  stopping: sha\n",
        "s.yaml:3: search.stopping: must have a `kind`: asha, hyperband, median, futility or none, "
        "got {'kind': 'sha'}",
    ),
    "no_stopping_by_null": (
        "search:\n  stopping: null\n",
        "s.yaml:3: search.stopping: must have a `kind`: asha, hyperband, median, futility or none, "
        "got null",
    ),
    "option_of_another_sampler": (
        "search:\n  sampler: {kind: random, population_size: 8}\n",
        "s.yaml:3: search.sampler.population_size: unknown key, known ones are kind",
    ),
    "too_small_a_population": (
        "search:\n  sampler: {kind: nsga2, population_size: 1}\n",
        "s.yaml:3: search.sampler.population_size: must be at least 2, got 1",
    ),
    "grid_over_a_continuum": (
        "search:\n  sampler: grid\n  parameters:\n    adapter.pruning_rate: {min: 0.0, max: 0.5}\n",
        "s.yaml:5: search.parameters.adapter.pruning_rate: must have a `step`, or be a list of "
        "`values`, with `sampler: grid`, which tries every value",
    ),
    "grid_too_large": (
        "search:\n  sampler: grid\n  parameters:\n"
        "    training.learning_rate: {min: 1, max: 999}\n    training.epochs: {min: 1, max: 999}\n",
        "s.yaml:3: search.sampler: must be another sampler for more than 100,000 points, got grid "
        "with 998,001",
    ),
    "gp_with_a_condition": (
        f"search:\n  sampler: gp\n{CONDITIONAL}",
        "s.yaml:6: search.parameters.adapter.pruning_rate.when: must be left out with `sampler: "
        "gp`, whose model needs a value of every parameter in every trial, got adapter.method",
    ),
    "cma_es_without_a_range": (
        f"search:\n  sampler: cma_es\n{CONDITIONAL}",
        "s.yaml:3: search.sampler: must be another sampler where no range (`min` and `max`) "
        "without `when` is searched, got cma_es, which moves in ranges alone",
    ),
    "several_objectives_and_stopping": (
        "search:\n  objectives: [mean, seconds]\n",
        "s.yaml:2: search.stopping: must be `kind: none` with several `search.objectives`: a trial "
        "that is behind in one may be ahead in another, got asha",
    ),
    "several_objectives_with_cma_es": (
        "search:\n  objectives: [mean, seconds]\n  stopping: {kind: none}\n  sampler: cma_es\n"
        "  parameters:\n    adapter.pruning_rate: {min: 0.0, max: 0.5}\n",
        "s.yaml:5: search.sampler: must be a sampler for several `search.objectives`, got "
        "cma_es, which follows one",
    ),
    "one_objective": (
        "search:\n  objectives: [mean]\n  stopping: {kind: none}\n",
        "s.yaml:3: search.objectives: must be at least two, or be left out, got ['mean']",
    ),
    "another_first_objective": (
        "search:\n  objectives: [builtin_math, mean]\n  stopping: {kind: none}\n",
        "s.yaml:3: search.objectives[0]: must be mean, as `search.metric` says, got 'builtin_math'",
    ),
    "objectives_by_likelihood": (
        "evaluation: {likelihood: true}\nsearch:\n  metric: bits_per_byte/val/mean\n"
        "  objectives: [mean, seconds]\n  stopping: {kind: none}\n",
        "s.yaml:4: search.metric: must be a score with `search.objectives`, such as val/mean, got "
        "'bits_per_byte/val/mean'",
    ),
    "unknown_objective": (
        "search:\n  objectives: [mean, time]\n  stopping: {kind: none}\n",
        "s.yaml:3: search.objectives[1]: must be one of mean, builtin_choice, builtin_math, "
        "builtin_code, trainable_parameters, seconds, memory, forgetting, got 'time'",
    ),
    "objective_twice": (
        "search:\n  objectives: [mean, memory, memory]\n  stopping: {kind: none}\n",
        "s.yaml:3: search.objectives[2]: must differ from the others, got 'memory' twice",
    ),
    "forgetting_of_nothing": (
        "search:\n  objectives: [mean, forgetting]\n  stopping: {kind: none}\n",
        "s.yaml:3: search.objectives[1]: needs `evaluation.held_out_text`, got null",
    ),
    "no_budget": (
        "search:\n  budget: {gpu_hours: 0}\n",
        "s.yaml:3: search.budget.gpu_hours: must be greater than 0, got 0",
    ),
    "target_in_percent": (
        "search:\n  budget: {target_score: 80.0}\n",
        "s.yaml:3: search.budget.target_score: must be in [0, 1], got 80.0",
    ),
    "warm_start_from_nowhere": (
        "search:\n  warm_start:\n    - {max_trials: 5}\n",
        "s.yaml:4: search.warm_start[0]: must have either `sweep` or `mlflow_experiment`",
    ),
    "warm_start_unknown_key": (
        "search:\n  warm_start:\n    - {swep: first}\n",
        "s.yaml:4: search.warm_start[0].swep: unknown key, did you mean `sweep`?",
    ),
    "warm_start_storage_of_mlflow": (
        "search:\n  warm_start:\n    - {mlflow_experiment: a/b, storage: x}\n",
        "s.yaml:4: search.warm_start[0].storage: must be left out without `sweep`, got 'x'",
    ),
    "warm_start_uri_of_a_sweep": (
        "search:\n  warm_start:\n    - {sweep: a, mlflow_uri: http://x}\n",
        "s.yaml:4: search.warm_start[0].mlflow_uri: must be left out without `mlflow_experiment`, "
        "got 'http://x'",
    ),
}


@pytest.mark.parametrize(("text", "line"), FAULTS.values(), ids=FAULTS.keys())
def test_what_cannot_be_searched_is_refused_in_one_line(
    refusal: Refusal, text: str, line: str
) -> None:
    assert refusal(f"name: q\n{text}") == [line]


def test_positions_of_a_range_give_its_values_back() -> None:
    parameters = make(
        parameters={
            "a": STEPPED,
            "b": RANGE,
            "c": {"min": 1e-4, "max": 1e-2, "scale": "log"},
            "d": {"min": 2, "max": 9},
            "e": {"min": 3.0, "max": 3.0},
        }
    ).search.parameters
    for domain in parameters.values():
        for position in (0.0, 0.2, 0.5, 0.99, 1.0):
            value = domain.at(position)
            assert domain.contains(value)
            assert domain.at(domain.position(value)) == pytest.approx(value)
    assert [parameters["a"].at(one / 12) for one in range(1, 12, 2)] == [0, 0.1, 0.2, 0.3, 0.4, 0.5]
    assert parameters["c"].at(0.5) == pytest.approx(1e-3)


@pytest.mark.parametrize("given", ["hopeless", {"kind": "hopeless", "grace_evaluations": 2}])
def test_a_rule_by_its_earlier_name_is_the_rule_by_its_name(given: Any) -> None:
    rule = make(stopping=given).search.stopping
    assert rule.kind == "futility"
    assert rule == make(stopping=rule.model_dump(mode="json")).search.stopping


def test_rates_that_are_searched_are_decided_between_by_default() -> None:
    assert make(parameters={RATE: STEPPED}).search.sampler == DecideSpec()
    assert make(parameters={RATE: RANGE}, sampler="tpe").search.sampler == TpeSpec()


METHODS = {"adapter.method": {"values": ["lora", "dora"]}}


@pytest.mark.parametrize(
    "search",
    [
        {},
        {"parameters": METHODS},
        {"parameters": {RATE: {"values": [0.5]}}},
        {"parameters": {RATE: RANGE, **METHODS}, "compare": "adapter.method"},
        {"parameters": {RATE: RANGE}, "population": {}},
        {"parameters": {RATE: RANGE}, "objectives": ["mean", "seconds"]},
    ],
)
def test_a_search_that_decides_between_no_rates_is_by_tpe(search: Any) -> None:
    assert make(**search).search.sampler == TpeSpec()


def test_a_sampler_is_kept_when_a_sweep_is_written_and_read() -> None:
    for search in ({"parameters": {RATE: RANGE}}, {"parameters": {RATE: RANGE}, "sampler": "tpe"}):
        sweep = make(**search)
        again = SweepSpec.model_validate_json(sweep.model_dump_json())
        assert again == sweep


def test_decide_needs_rates_to_decide_between(refusal: Refusal) -> None:
    for parameters in (
        "{adapter.rank: {values: [4, 8]}}",
        "{adapter.pruning_rate: {values: [0.5]}}",
    ):
        text = f"name: q\nsearch:\n  sampler: decide\n  parameters: {parameters}\n"
        assert refusal(text) == [
            "s.yaml:3: search.sampler: must be another sampler where no several values of "
            "`adapter.pruning_rate` are searched, got decide, which decides between them"
        ]


def test_more_rates_than_trials_are_told() -> None:
    steps = {"parameters": {RATE: {"min": 0.0, "max": 0.9, "step": 0.1}}, "num_startup_trials": 2}

    def told(**search: Any) -> tuple[str, ...]:
        sweep = SweepSpec.model_validate(
            {"name": "q", "adapter": {"alpha": 8}, "search": {**steps, **search}}
        )
        return file_notes(sweep)

    assert told(num_trials=8) == (
        "search.num_trials: 8 trials for the 10 values of adapter.pruning_rate: they are covered "
        "evenly, and some get none; give more trials, or fewer values",
    )
    assert told(num_trials=10) == told(num_trials=8, sampler="tpe") == ()
