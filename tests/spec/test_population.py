"""A combination that a population does not allow is refused in one line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from droplora_sweep.spec import PopulationSpec, load_sweep

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Refusal = Callable[..., list[str]]

SOUND = """\
name: q
evaluation: {num_evaluations: 4}
search:
  population: {}
  sampler: random
  stopping: {kind: none}
  parameters:
    adapter.pruning_rate: {min: 0.0, max: 0.9}
    training.learning_rate: {min: 1e-4, max: 1e-2, scale: log}
"""
MUTABLE = "adapter.pruning_rate, adapter.dropout, training.learning_rate, training.weight_decay"


def test_a_population_is_a_section_of_the_search(tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_text(SOUND)
    assert load_sweep(file).search.population == PopulationSpec()
    assert load_sweep(file, ["search.population.quantile=0.5"]).search.population == PopulationSpec(
        quantile=0.5
    )


FAULTS = {
    "a sampler that learns": (
        ("sampler: random", "sampler: tpe"),
        "s.yaml:5: search.sampler: must be random or quasi_random with `search.population`: a "
        "member's score is not that of the values that were drawn, got tpe",
    ),
    "stopping": (
        ("stopping: {kind: none}", "stopping: {kind: asha}"),
        "s.yaml:6: search.stopping: must be `kind: none` with `search.population`: a member "
        "that is behind copies another, got asha",
    ),
    "objectives": (
        ("sampler: random", "sampler: random\n  objectives: [mean, seconds]"),
        "s.yaml:6: search.objectives: must be left out with `search.population`, which follows "
        "`search.metric` alone",
    ),
    "too few members": (
        ("population: {}", "population: {}\n  num_trials: 3"),
        "s.yaml:5: search.num_trials: must be at least `search.population.min_members`, 4, got 3",
    ),
    "confirmation": (
        ("name: q\n", "name: q\nconfirm: {}\n"),
        "s.yaml:2: confirm: must be null with `search.population`: a schedule cannot be "
        "trained again with other seeds",
    ),
    "one evaluation": (
        ("num_evaluations: 4", "num_evaluations: 1"),
        "s.yaml:2: evaluation.num_evaluations: must be at least 2 with `search.population`: "
        "members copy between evaluations, got 1",
    ),
    "lora_drop": (
        ("name: q\n", "name: q\nadapter: {method: lora_drop}\n"),
        "s.yaml:2: adapter.method: must be another method with `search.population`, got lora_drop, "
        "which changes its shapes as it trains",
    ),
    "learned masks": (
        ("name: q\n", "name: q\nadapter: {mask: learned}\n"),
        "s.yaml:2: adapter.mask: must be token, sample or step with `search.population`: gates are "
        "learned for one rate, got learned",
    ),
    "another shape": (
        ("adapter.pruning_rate: {min: 0.0, max: 0.9}", "adapter.rank: {min: 4, max: 8}"),
        f"s.yaml:8: search.parameters.adapter.rank: must be one of {MUTABLE} with "
        "`search.population`: members must have the same shapes and data, got adapter.rank",
    ),
    "a choice": (
        (
            "adapter.pruning_rate: {min: 0.0, max: 0.9}",
            "adapter.pruning_rate: {values: [0.0, 0.5]}",
        ),
        "s.yaml:8: search.parameters.adapter.pruning_rate: must be a range (`min` and `max`) with "
        "`search.population`, got values",
    ),
    "nothing searched": (
        (SOUND[SOUND.index("  parameters") :], ""),
        f"s.yaml:3: search.parameters: must search one of {MUTABLE} with `search.population`, got "
        "none",
    ),
    "a factor of 0": (
        ("population: {}", "population: {perturbation: 1.0}"),
        "s.yaml:4: search.population.perturbation: must be in (0, 1), got 1.0",
    ),
}


@pytest.mark.parametrize(("change", "line"), FAULTS.values(), ids=FAULTS.keys())
def test_what_a_population_cannot_be_is_refused(
    refusal: Refusal, change: tuple[str, str], line: str
) -> None:
    assert change[0] in SOUND
    assert line in refusal(SOUND.replace(*change))
