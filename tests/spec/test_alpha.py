"""Alpha that a file does not give: the paper's, by method and rank (arXiv 2508.17337, Table 7)."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from droplora_sweep.ledger.reader import recorded_sweep
from droplora_sweep.records.trial import SweepRecord
from droplora_sweep.run.starting import changes
from droplora_sweep.spec import (
    AdapterSpec,
    SweepSpec,
    TrialSpec,
    baselines,
    dotted,
    file_notes,
    fingerprint,
    load_changed_trial,
    package_versions,
    resolve,
)
from droplora_sweep.spec.rules.parameter_rules import find_broken_parameters

TABLE_7 = {
    ("droplora", 32): 64,
    ("lora", 32): 64,
    ("lora", 64): 128,
    ("dora", 32): 64,
    ("dora", 64): 128,
    ("pissa", 32): 32,
    ("pissa", 64): 64,
    ("milora", 32): 32,
    ("milora", 64): 64,
}
RANKS = {"adapter.rank": {"values": [4, 16]}}


def make(parameters: dict[str, Any] | None = None, **adapter: Any) -> SweepSpec:
    search = {"parameters": parameters or {}, "sampler": "random"}
    return SweepSpec.model_validate({"name": "q", "adapter": adapter, "search": search})


@pytest.mark.parametrize(("setting", "alpha"), TABLE_7.items(), ids=str)
def test_alpha_is_that_of_table_7(setting: tuple[str, int], alpha: int) -> None:
    method, rank = setting
    adapter = AdapterSpec(method=method, rank=rank)
    assert adapter.with_alpha() == AdapterSpec(method=method, rank=rank, alpha=alpha)
    assert resolve({}, make(method=method, rank=rank)).adapter.alpha == alpha
    sweep = make({"adapter.rank": {"values": [rank]}}, method=method, rank=8)
    assert resolve({"adapter.rank": rank}, sweep).adapter.alpha == alpha


def test_what_is_given_stays() -> None:
    assert resolve({"adapter.rank": 16}, make(RANKS, alpha=64)).adapter.alpha == 64
    both = {**RANKS, "adapter.alpha": {"values": [1, 2], "ratio_of": "adapter.rank"}}
    values = {"adapter.rank": 16, "adapter.alpha": 1}
    assert resolve(values, make(both)).adapter.alpha == 16


def test_a_ratio_of_alpha_needs_one() -> None:
    ratio = {"adapter.rank": {"values": [2], "ratio_of": "adapter.alpha"}}
    searched = {**ratio, "adapter.alpha": {"values": [4, 8]}}
    for parameters, adapter, paths in (
        (ratio, {}, ["search.parameters.adapter.rank.ratio_of"]),
        (searched, {}, []),
        (ratio, {"alpha": 8}, ["search.parameters.adapter.rank.values[0]"]),
    ):
        found = find_broken_parameters(make(parameters, **adapter))
        assert [dotted(one.path) for one in found] == paths


def test_baselines_follow_the_table_whatever_is_searched() -> None:
    methods = {"adapter.method": {"values": ["lora", "pissa"]}}
    searched = {**methods, **RANKS, "adapter.alpha": {"values": [16, 32]}}
    search = {"parameters": searched, "compare": ["adapter.method"], "stopping": "none"}
    sweep = SweepSpec.model_validate({"name": "q", "search": {**search, "num_trials": 4}})
    assert [values["adapter.alpha"] for values in baselines(sweep)] == [32, 16]


NOTES = {
    "one rank": (make(rank=16), "32, twice the rank"),
    "ranks": (make(RANKS), "8 to 32, twice the rank"),
    "pissa": (make(method="pissa", rank=16), "16, the rank"),
    "methods": (
        make({"adapter.method": {"values": ["pissa", "lora", "full"]}}, rank=16),
        "16 to 32, the rank or twice the rank",
    ),
}


@pytest.mark.parametrize(("sweep", "text"), NOTES.values(), ids=NOTES.keys())
def test_it_is_told(sweep: SweepSpec, text: str) -> None:
    assert file_notes(sweep) == (
        f"adapter.alpha: {text} as in the paper's Table 7, since the file gives none",
    )


def test_nothing_is_told_of_an_alpha_that_is_given_or_has_no_meaning() -> None:
    searched = {"adapter.alpha": {"values": [8, 16]}}
    for sweep in (make(alpha=16), make(searched), make(method="full"), make()):
        assert file_notes(sweep) == ()


def test_startup_trials_that_leave_none_for_a_model_are_told() -> None:
    parameters = {"adapter.pruning_rate": {"min": 0.0, "max": 0.5}}

    def notes(**search: Any) -> tuple[str, ...]:
        search = {"parameters": parameters, **search}
        adapter = {"alpha": 8}
        return file_notes(
            SweepSpec.model_validate({"name": "q", "adapter": adapter, "search": search})
        )

    line = (
        "search.num_startup_trials: tpe begins after 8 random trials, and there are 4: all are "
        "random; give fewer, or more trials"
    )
    assert notes(num_trials=4, sampler="tpe") == (line,)
    assert notes(num_trials=8, sampler="tpe") == (line.replace("are 4", "are 8"),)
    assert notes(num_trials=9) == notes(num_trials=4, sampler="random") == ()
    assert notes(num_trials=4, num_startup_trials=2) == ()
    assert notes(num_trials=8) == (
        "search.num_startup_trials: decide spreads its first 8 trials over the rates, and there "
        "are 8: none goes where the decision is open; give fewer, or more trials",
    )
    assert notes(budget={"gpu_hours": 1.0}) == ()
    compared = {
        "parameters": {"adapter.method": {"values": ["lora", "dora"]}, **parameters},
        "compare": ["adapter.method"],
        "stopping": "none",
    }
    assert notes(num_trials=12, **compared) == (
        "search.num_startup_trials: tpe begins after 8 random trials of each variant, and there "
        "are 6: all are random; give fewer, or more trials",
    )


def recorded(spec: dict[str, Any]) -> SweepRecord:
    return SweepRecord(
        sweep_id="1",
        name="q",
        spec=spec,
        data_digests={},
        versions=package_versions(),
        started=datetime.now(UTC),
    )


def test_a_clone_with_another_rank_has_its_alpha() -> None:
    parent = resolve({"adapter.rank": 16}, make(RANKS))
    for sweep, alpha in ((make(RANKS), 16), (make(RANKS, alpha=32), 32)):
        clone = load_changed_trial(sweep, parent, ["adapter.rank=8"]).sweep.trial.with_alpha()
        assert clone.adapter.alpha == alpha
    clone = load_changed_trial(make(RANKS), parent, ["adapter.rank=8", "adapter.alpha=3"])
    assert clone.sweep.trial.adapter.alpha == 3


def test_a_trial_of_an_earlier_version_is_the_same_trial() -> None:
    """The digests are those that the version before computed for these adapters."""
    packages = dict.fromkeys(("torch", "transformers", "peft", "deepspeed"), "1")

    def of(**adapter: Any) -> str:
        trial = TrialSpec.model_validate({"adapter": adapter})
        return fingerprint(trial, {}, packages, num_workers=1)

    assert of() == of(alpha=64)
    assert of(rank=8) == of(rank=8, alpha=16) != of(rank=8, alpha=64)
    assert of(method="full") == of(method="full", alpha=3, rank=5)
    full = AdapterSpec(method="full").canonical()
    assert (full.rank, full.alpha) == (32, 64)


def test_a_sweep_of_an_earlier_version_keeps_what_it_said() -> None:
    old = json.loads(make(RANKS, alpha=64).model_dump_json())
    assert resolve({"adapter.rank": 4}, recorded_sweep(recorded(old))).adapter.alpha == 64

    searched = {**RANKS, "adapter.alpha": {"values": [1, 2], "ratio_of": "adapter.rank"}}
    for parameters, adapter, differs in (
        (RANKS, {}, True),
        (searched, {}, False),
        ({}, {}, False),
        ({}, {"rank": 16}, True),
        ({}, {"rank": 16, "alpha": 64}, False),
    ):
        before = make(parameters, **{**adapter, "alpha": 64}).model_dump(mode="json")
        now = make(parameters, **adapter)
        found = changes(recorded(before), now, {}, package_versions())
        assert [one.field for one in found] == ["adapter.alpha"] * differs
