"""A fair comparison: as many trials for each variant, each proposed by its own trials alone."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import optuna
import pytest
from ray.tune.search import Searcher

from droplora_sweep.search.history import SearchHistory
from droplora_sweep.search.searcher import StudySearcher
from droplora_sweep.search.variants import propose
from droplora_sweep.spec import SweepSpec, TrialSpec
from tests.recording import result

RATE = {"min": 1e-4, "max": 1e-1, "scale": "log"}
PARAMETERS = {
    "adapter.method": {"values": ["lora", "dora", "full"]},
    "adapter.pruning_rate": {"values": [0.0, 0.2], "when": {"adapter.method": ["lora", "dora"]}},
    "training.learning_rate": RATE,
}
COMPARE = ["adapter.method", "adapter.pruning_rate"]


def a_sweep(**search: Any) -> SweepSpec:
    fields = {
        "num_trials": 15,
        "compare": COMPARE,
        "stopping": {"kind": "none"},
        "parameters": PARAMETERS,
        **search,
    }
    return SweepSpec.model_validate({"name": "s", "search": fields})


def identify(number: int, spec: TrialSpec) -> tuple[str, str]:
    adapter = spec.adapter
    rate = spec.training.learning_rate
    return f"t{number}", f"{adapter.method} {adapter.pruning_rate} {rate!r}"


def run(sweep: SweepSpec, *, most: int = 99, specs: tuple[TrialSpec, ...] = ()) -> list[TrialSpec]:
    """Every trial of a search whose scores favour one method."""
    study = optuna.create_study(direction="maximize")
    known = SearchHistory(specs=specs, ended={identify(0, spec)[1]: 0.5 for spec in specs})
    searcher = StudySearcher(
        sweep=sweep,
        study=study,
        identify=identify,
        room=lambda: 1,
        trials_folder="trials",
        known=known,
    )
    drawn: list[TrialSpec] = []
    while len(drawn) < most:
        name = f"tune{len(drawn)}"
        if searcher.suggest(name) == Searcher.FINISHED:
            break
        spec = searcher.planned(name).trial_spec
        score = 0.9 if spec.adapter.method == "dora" else 0.1
        searcher.on_trial_complete(name, result(score))
        drawn.append(spec)
    return drawn


def variant(spec: TrialSpec) -> tuple[str, float]:
    return spec.adapter.method, spec.adapter.pruning_rate


VARIANTS = [("lora", 0.0), ("lora", 0.2), ("dora", 0.0), ("dora", 0.2), ("full", 0.0)]


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_every_variant_has_as_many_trials_whatever_they_score(sampler: str) -> None:
    drawn = run(a_sweep(sampler=sampler))

    assert Counter(map(variant, drawn)) == dict.fromkeys(VARIANTS, 3)
    assert len({spec.training.learning_rate for spec in drawn if variant(spec)[0] == "dora"}) > 2


def test_each_variant_begins_with_the_papers_setting() -> None:
    first = run(a_sweep(), most=5)

    assert [variant(spec) for spec in first] == VARIANTS
    assert {spec.training.learning_rate for spec in first} == {3e-4}


def test_a_search_that_goes_on_gives_what_is_missing() -> None:
    before = run(a_sweep(), most=7)
    after = run(a_sweep(), specs=tuple(before))

    assert Counter(map(variant, before + after)) == dict.fromkeys(VARIANTS, 3)


def test_a_variant_that_has_no_more_settings_leaves_the_others_their_share() -> None:
    parameters = {
        "adapter.method": {"values": ["lora", "dora"]},
        "training.learning_rate": {**RATE, "when": {"adapter.method": "dora"}},
    }
    drawn = run(a_sweep(compare=["adapter.method"], num_trials=6, parameters=parameters))

    assert Counter(spec.adapter.method for spec in drawn) == {"lora": 1, "dora": 3}


def test_a_variants_proposals_follow_its_own_trials_alone() -> None:
    """The best learning rate is 1e-3 for LoRA and 1e-1 for DoRA; each goes for its own."""
    sweep = a_sweep(
        compare=["adapter.method"],
        num_trials=60,
        parameters={
            "adapter.method": {"values": ["lora", "dora"]},
            "training.learning_rate": RATE,
        },
    )
    study = optuna.create_study(direction="maximize")
    best = {"lora": -3.0, "dora": -1.0}
    proposed: dict[str, list[float]] = {"lora": [], "dora": []}
    for number in range(60):
        method = ("lora", "dora")[number % 2]
        point = propose(study, sweep, {"adapter.method": method}, number)
        assert point["adapter.method"] == method
        study.enqueue_trial(point)
        trial = study.ask()
        trial.suggest_categorical("adapter.method", ("lora", "dora"))
        rate = math.log10(trial.suggest_float("training.learning_rate", 1e-4, 1e-1, log=True))
        study.tell(trial, -abs(rate - best[method]))
        proposed[method].append(rate)

    for method, rates in proposed.items():
        late = sorted(rates[-9:])
        assert abs(late[4] - best[method]) < 0.5
