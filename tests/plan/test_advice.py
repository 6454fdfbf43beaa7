"""Advice on what is odd in a space: each kind where it is due, and none where it is not."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import yaml

from droplora_sweep.models.inspecting import published_models
from droplora_sweep.models.resolving import BUILTIN_FOLDER
from droplora_sweep.plan.advice.advice import advice_on
from droplora_sweep.plan.advice.evidence import shown_gap, standard_error
from droplora_sweep.plan.advice.learning_rate import (
    EXPONENTS,
    fitted_rate,
    learning_rate_advice,
    learning_rate_prior,
)
from droplora_sweep.plan.survey import survey
from droplora_sweep.spec import load_sweep_file

if TYPE_CHECKING:
    from collections.abc import Callable

SPACES = Path(__file__).parents[2] / "search_spaces"
LR = "training.learning_rate"
RATE = "adapter.pruning_rate"
RATES = {RATE: {"min": 0.0, "max": 0.4, "step": 0.1}}
PLAIN: dict[str, Any] = {
    "name": "q",
    "task": {"num_train": 128, "num_validation": 100, "num_confirmation": 200},
    "training": {"epochs": 3, "global_batch_size": 16},
    "search": {"parameters": RATES, "num_trials": 24},
}
"""A sweep of which nothing is to be said."""


def with_values(data: dict[str, Any], **values: Any) -> dict[str, Any]:
    """The data with values at dotted paths, given with ``__`` for the dot between sections."""
    for path, value in values.items():
        section, _, name = path.partition("__")
        if not name:
            data = {**data, section: value}
        else:
            data = {**data, section: {**data.get(section, {}), name: value}}
    return data


@pytest.fixture
def lines(tmp_path: Path) -> Callable[..., list[str]]:
    """The advice on the plain sweep with other values, a line each."""

    def advise(**values: Any) -> list[str]:
        file = tmp_path / "s.yaml"
        file.write_text(yaml.safe_dump(with_values(PLAIN, **values)))
        return [one.text for one in advice_on(survey(load_sweep_file(file, needs_data=False)))]

    return advise


def test_a_plain_sweep_gets_none(lines: Callable[..., list[str]]) -> None:
    assert lines() == []


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (
            {"search__parameters": {RATE: {"values": [0.1, 0.5]}}},
            "adapter.pruning_rate: 0 is not among its values, so that LoRA without pruning is not "
            "tuned as the rates are; add 0, which every rate is compared with",
        ),
        (
            {"search__num_trials": 4},
            "search.num_trials: 4 trials are fewer than the 5 values of adapter.pruning_rate; give "
            "more trials, or fewer rates",
        ),
        (
            {
                "adapter": {"alpha": 16},
                "search__parameters": {**RATES, "adapter.rank": {"values": [2, 8]}},
            },
            "adapter.alpha: 16 whatever the rank, so that the scale alpha / rank differs 4fold; "
            "leave it out, so that it follows the rank, or search it with `ratio_of: adapter.rank`",
        ),
        (
            {"search__parameters": {**RATES, LR: {"min": 1e-5, "max": 1e-2, "scale": "log"}}},
            "training.learning_rate: 1e-05 to 0.01 spans 3.0 decades, most of which train badly; "
            "give a factor of 10 to 100",
        ),
        (
            {"search__parameters": {**RATES, LR: {"min": 1e-3, "max": 1.3e-3}}},
            "training.learning_rate: 0.001 to 0.0013 is a factor of 1.3, less than shows in a "
            "score; give a factor of 3 or more, or fix it",
        ),
        (
            {
                "search__parameters": {"adapter.method": {"values": ["lora", "dora"]}},
                "search__compare": ["adapter.method"],
                "search__stopping": "none",
            },
            "training.learning_rate: 0.0003 is that of every variant of `search.compare`, and "
            "suits none but by luck; search it, so that each variant has its own",
        ),
        (
            {"task__num_validation": 20},
            "task.num_validation: 20 for each of 3: one trial's mean score has a standard error of "
            "up to 6 points; give more, or the search ranks by luck",
        ),
        (
            {"task__num_confirmation": 60, "confirm": {"margin": 0.04}},
            "task.num_confirmation: 60 examples decide: one score's 95 % interval is up to 13 "
            "points on either side; give 100 or more",
        ),
        (
            {
                "confirm": {"margin": 0.02},
                "search__parameters": {
                    RATE: {"min": 0.0, "max": 0.4, "step": 0.1},
                    LR: {"min": 1e-3, "max": 1e-2, "scale": "log"},
                },
                "search__num_trials": 12,
            },
            "confirm.controls: false, while 12 trials are to find a learning rate for each of 5 "
            "rates, of a range of 0.001 to 0.01; set true, so that a gain is the rate's own, or "
            "give more trials",
        ),
        (
            {"confirm": {}},
            "confirm.margin: 0.01 is far below what 200 examples can show, gaps of about 6 points "
            "where two settings answer one example in ten differently; raise it or "
            "`task.num_confirmation`, or expect `cannot tell`",
        ),
        (
            {
                "adapter": {"dropout": 0.3},
                "search__parameters": {RATE: {"min": 0.0, "max": 0.6, "step": 0.2}},
            },
            "adapter.dropout: up to 0.3 beside a pruning rate of 0.6, which drops ranks as well; "
            "lower one of them: together they leave little to learn from",
        ),
        (
            {
                "adapter": {"rank": 4},
                "search__parameters": {RATE: {"min": 0.0, "max": 0.9, "step": 0.3}},
            },
            "adapter.pruning_rate: 0.9 of rank 4 leaves 0.4 ranks on average; give lower rates, or "
            "a higher `adapter.rank`",
        ),
        (
            {"training__warmup_ratio": 0.4, "evaluation": {"num_evaluations": 4}},
            "search.stopping: asha may stop a trial after step 18, while its learning rate rises "
            "for 29 steps; raise `grace_evaluations`, or shorten the warmup",
        ),
        (
            {"search__stopping": "median", "evaluation": {"num_evaluations": 1}},
            "search.stopping: median stops nothing, since trials are evaluated at their end alone; "
            "raise `evaluation.num_evaluations`, or give none",
        ),
        (
            {"training__epochs": 1, "training__global_batch_size": 64},
            "training.epochs: 1 of 384 examples in batches of 64 are 6 optimiser steps; train "
            "longer, on more, or with a smaller `global_batch_size`",
        ),
        (
            {
                "model": {"path": str(BUILTIN_FOLDER), "dtype": "float32"},
                "group": {"gpus_per_worker": 1},
            },
            "model.dtype: float32 on GPUs takes twice the memory and a multiple of the time of "
            "bfloat16; leave it out, or set bfloat16, as GPUs since 2020 have",
        ),
    ],
    ids=lambda value: value.partition(":")[0] if isinstance(value, str) else "",
)
def test_each_oddity_is_one_line_and_alone(
    lines: Callable[..., list[str]], values: dict[str, Any], expected: str
) -> None:
    assert lines(**values) == [expected]


@pytest.mark.parametrize(
    "values",
    [
        {"search__parameters": {RATE: {"values": [0.1, 0.5], "when": {"adapter.rank": 32}}}},
        {"adapter": {"alpha": 16}},
        {"adapter": {"rank": 4}, "search__parameters": {RATE: {"values": [0.0, 0.5]}}},
        {"adapter": {"dropout": 0.3}},
        {"search__parameters": {**RATES, LR: {"min": 1e-4, "max": 1e-2, "scale": "log"}}},
        {"training__warmup_ratio": 0.2, "evaluation": {"num_evaluations": 4}},
        {"training__warmup_ratio": 0.4, "evaluation": {"num_evaluations": 1}},
        {"confirm": {"margin": 0.0}},
        {"confirm": {"margin": 0.02}},
        {"search__sampler": "grid", "search__num_trials": None},
        {"model": {"path": str(BUILTIN_FOLDER)}, "group": {"gpus_per_worker": 1}},
    ],
)
def test_what_is_usual_gets_none(lines: Callable[..., list[str]], values: dict[str, Any]) -> None:
    assert lines(**values) == []


def test_the_steps_are_those_of_the_search(lines: Callable[..., list[str]]) -> None:
    [line] = lines(confirm={"margin": 0.02}, search__fidelity={"task.num_train": 0.1})
    assert line == (
        "search.fidelity: 3 of 39 examples in batches of 16 are 9 optimiser steps; train longer, "
        "on more, or with a smaller `global_batch_size`"
    )


@pytest.mark.parametrize(
    ("hub_id", "expected"),
    [
        # get_lr of the published tinker-cookbook, by its own formula and exponents.
        ("meta-llama/Llama-2-7b-hf", 5e-4 * (2000 / 4096) ** 0.781),
        ("meta-llama/Meta-Llama-3-8B", 5e-4 * (2000 / 4096) ** 0.781),
    ],
)
def test_the_papers_models_have_about_the_papers_learning_rate(
    hub_id: str, expected: float
) -> None:
    model = published_models()[hub_id]
    assert model.dimensions is not None
    prior = learning_rate_prior(model.architecture, model.dimensions.width)
    assert prior is not None
    assert prior.suggested == pytest.approx(expected)
    # arXiv 2508.17337, Table 7: 3e-4.
    assert prior.suggested == pytest.approx(3e-4, rel=0.1)


@pytest.mark.parametrize(
    ("architecture", "width", "reach", "suggested"),
    [
        ("LlamaForCausalLM", 2048, (4.91e-4, 4.91e-4), 4.91e-4),
        ("Qwen2ForCausalLM", 3584, (4.78e-4, 4.78e-4), 4.78e-4),
        # Capped; a range that reaches above the cap up to the fit is taken at its word.
        ("LlamaForCausalLM", 576, (1e-3, 1.32e-3), 1e-3),
        # Of no family in the fit: both exponents, and a rate between.
        ("MistralForCausalLM", 4096, (2.86e-4, 4.73e-4), 3.68e-4),
    ],
)
def test_the_prior_of_a_model(
    architecture: str, width: int, reach: tuple[float, float], suggested: float
) -> None:
    prior = learning_rate_prior(architecture, width)
    assert prior is not None
    assert prior.reach == pytest.approx(reach, rel=0.01)
    assert prior.suggested == pytest.approx(suggested, rel=0.01)


def test_the_fit_falls_with_width_and_meets_at_2000() -> None:
    for exponent in EXPONENTS.values():
        rates = [fitted_rate(width, exponent) for width in (1024, 2000, 4096, 8192)]
        assert rates == sorted(rates, reverse=True)
        assert rates[1] == pytest.approx(5e-4)
        slope = math.log(rates[2] / rates[3]) / math.log(2)
        assert slope == pytest.approx(exponent)


def test_tiny_models_have_no_prior() -> None:
    assert learning_rate_prior("LlamaForCausalLM", 128) is None


FIT = "the 2.9e-04 that a published fit gives for LoRA on this LlamaForCausalLM"


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ((), []),
        (
            (f"{LR}=1e-5",),
            [
                f"{LR}: 1e-05 is not searched, and a published fit gives about 2.9e-04 for LoRA on "
                "this LlamaForCausalLM; search a range that holds both"
            ],
        ),
        ((f"search.parameters.{LR}={{min: 1e-4, max: 1e-3, scale: log}}",), []),
        (
            (f"search.parameters.{LR}={{min: 1e-5, max: 1e-4, scale: log}}",),
            [f"{LR}: 1e-05 to 0.0001 is below {FIT}; let the range hold it"],
        ),
        (
            (f"search.parameters.{LR}={{min: 5e-3, max: 2e-2, scale: log}}",),
            [f"{LR}: 0.005 to 0.02 is above {FIT}; let the range hold it"],
        ),
        ((f"search.parameters.{LR}={{values: [1e-4, 1e-3]}}",), []),
        (
            (f"search.parameters.{LR}={{values: [1e-5, 3e-3]}}",),
            [f"{LR}: no value is near {FIT}; add one"],
        ),
        ((f"{LR}=1e-5", "adapter.method=full", "search.parameters.adapter.pruning_rate=null"), []),
    ],
)
def test_a_range_that_misses_the_prior_is_told(
    overrides: tuple[str, ...], expected: list[str]
) -> None:
    settings = ("search.sampler=random", *overrides)
    found = survey(load_sweep_file(SPACES / "paper/table5.yaml", settings, needs_data=False))
    assert [one.text for one in learning_rate_advice(found)] == expected


def test_a_gap_that_is_promised_is_shown_in_four_of_five_simulated_comparisons() -> None:
    """By simulation, not by the formula: paired answers that differ on one example in ten."""
    rng = np.random.default_rng(0)
    for number in (200, 2000):
        gap = shown_gap(number)
        chances = [(0.1 + gap) / 2, (0.1 - gap) / 2]
        drawn = rng.multinomial(number, [*chances, 1 - sum(chances)], size=20_000)
        better, worse = drawn[:, 0], drawn[:, 1]
        mean = (better - worse) / number
        spread = np.sqrt(((better + worse) / number - mean**2) / number)
        assert np.mean(mean > 1.96 * spread) == pytest.approx(0.8, abs=0.04)


def test_the_standard_error_is_that_of_simulated_scores() -> None:
    rng = np.random.default_rng(0)
    scores = rng.binomial(60, 0.5, size=50_000) / 60
    assert np.std(scores) == pytest.approx(standard_error(60), rel=0.02)


def test_the_shipped_spaces_get_none() -> None:
    given = {}
    for file in sorted((*SPACES.glob("*.yaml"), *SPACES.glob("paper/*.yaml"))):
        if "smollm2" in file.name:
            continue  # Its model and data are on no machine by default.
        found = survey(load_sweep_file(file, needs_data=False))
        if fields := [one.field for one in advice_on(found)]:
            given[file.name] = fields
    assert given == {}
