"""A clone's settings obey the rules of a file; the study knows those that lie in the space."""

from __future__ import annotations

import pytest

from droplora_sweep.errors import InputError
from droplora_sweep.run.control import shown_params, start_problems
from droplora_sweep.spec import (
    Choice,
    Range,
    SearchSpec,
    SweepSpec,
    TrialSpec,
    drawn_values,
    load_changed_trial,
    resolve,
)
from droplora_sweep.spec.fields import with_fields

SWEEP = SweepSpec(
    name="q",
    search=SearchSpec(
        parameters={
            "adapter.rank": Choice(values=(4, 8)),
            "adapter.alpha": Choice(values=(1, 2), ratio_of="adapter.rank"),
            "adapter.pruning_rate": Range(min=0.0, max=0.5, step=0.1),
        }
    ),
)
DRAWN = {"adapter.rank": 8, "adapter.alpha": 2, "adapter.pruning_rate": 0.3}
PARENT = resolve(DRAWN, SWEEP)


@pytest.mark.parametrize(
    ("setting", "fault"),
    [
        ("adapter.rank=0", "--set adapter.rank=0: adapter.rank: must be at least 1, got 0"),
        ("adapter.rnk=4", "--set adapter.rnk=4: adapter.rnk: unknown key"),
        (
            "task.num_validation=3",
            "--set task.num_validation=3: task.num_validation: must be as in the other trials of "
            "the sweep, with which it is compared",
        ),
        ("search.num_trials=3", "search.num_trials: must be a field of a trial"),
        ("name=other", "--set name=other: name: must be a field of a trial"),
        (
            "task.benchmarks=[builtin_math]",
            "task.benchmarks: must be one field that a search may vary, e.g. adapter.rank",
        ),
        ("adapter.rank", "must be `path=value`, e.g. adapter.rank=8"),
    ],
)
def test_what_a_clone_cannot_have_is_told_in_one_line(setting: str, fault: str) -> None:
    with pytest.raises(InputError) as caught:
        load_changed_trial(SWEEP, PARENT, [setting])
    [line] = str(caught.value).splitlines()
    assert fault in line


def test_a_clone_is_its_parent_but_for_what_is_set() -> None:
    file = load_changed_trial(SWEEP, PARENT, ["adapter.pruning_rate=0.1", "seed=7"])
    expected = with_fields(PARENT, {"adapter.pruning_rate": 0.1, "seed": 7})
    assert file.sweep.trial == expected
    shown = shown_params(dict.fromkeys(DRAWN, 0), PARENT, expected)
    assert shown == {
        "adapter.rank": 8,
        "adapter.alpha": 16,
        "adapter.pruning_rate": 0.1,
        "seed": 7,
    }


@pytest.mark.parametrize(
    "search",
    [
        {"sampler": {"kind": "decide"}},
        {"sampler": {"kind": "grid"}, "num_trials": None},
        {"sampler": {"kind": "cma_es"}},
        {"sampler": {"kind": "gp"}},
        {"sampler": {"kind": "nsga2"}, "objectives": ("mean", "seconds")},
        {"sampler": {"kind": "tpe"}, "compare": ("adapter.rank",), "stopping": {"kind": "none"}},
    ],
    ids=lambda search: search["sampler"]["kind"],
)
def test_a_clone_is_made_whatever_its_sweep_searches_by(search: dict[str, object]) -> None:
    given = {**SWEEP.search.model_dump(exclude_unset=True), **search}
    sweep = SweepSpec.model_validate({"name": "q", "search": given})
    made = load_changed_trial(sweep, PARENT, ["seed=7"]).sweep.trial
    assert made == with_fields(PARENT, {"seed": 7})


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, DRAWN),
        ({"adapter.pruning_rate": 0.1}, {**DRAWN, "adapter.pruning_rate": 0.1}),
        # Off its step, off the ratio, and a field that is not searched.
        ({"adapter.pruning_rate": 0.25}, None),
        ({"adapter.alpha": 20.0}, None),
        ({"seed": 7}, None),
    ],
)
def test_values_that_the_search_could_have_drawn(
    fields: dict[str, float], expected: dict[str, float] | None
) -> None:
    assert drawn_values(with_fields(PARENT, fields), SWEEP) == expected


@pytest.mark.parametrize(
    ("parent", "clone", "problem"),
    [
        ({}, {}, None),
        ({}, {"adapter.method": "lora", "adapter.pruning_rate": 0.0}, None),
        ({}, {"training.learning_rate": 1e-3, "adapter.mask": "step"}, None),
        ({}, {"adapter.rank": 4}, "must be of a trial with the clone's rank 4, got 8"),
        ({}, {"adapter.alpha": 8.0}, "must be of a trial with the clone's alpha 8.0, got 16.0"),
        ({}, {"adapter.layers": "0-1"}, "must be of a trial with the clone's layers 0-1, got all"),
        ({}, {"adapter.module_ranks.q_proj": 4}, "the clone's module_ranks {'q_proj': 4}, got {}"),
        ({}, {"adapter.method": "dora"}, "the clone's method dora, got droplora"),
        ({"adapter.method": "pissa"}, {"adapter.method": "pissa"}, "rslora, got pissa"),
        ({"adapter.method": "full"}, {"adapter.method": "full"}, "rslora, got full"),
        ({"adapter.mask": "learned"}, {}, "must be without learned masks"),
    ],
)
def test_an_adapter_is_a_start_where_it_has_the_same_shapes_and_scale(
    parent: dict[str, object], clone: dict[str, object], problem: str | None
) -> None:
    def made(fields: dict[str, object]) -> TrialSpec:
        return with_fields(PARENT, fields)  # type: ignore[arg-type]

    found = list(start_problems(made(parent), made(clone)))
    if problem is None:
        assert found == []
    else:
        assert len(found) == 1
        assert problem in found[0]
