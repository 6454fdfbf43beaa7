"""Exploit steps of population-based training, as a pure function."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from droplora_sweep.search.rules import Member, explored, next_exploit
from droplora_sweep.spec import ExploitStep, PopulationSpec, Range

RATE = "adapter.pruning_rate"
PARAMETERS = {RATE: Range(min=0.0, max=0.9)}
POPULATION = PopulationSpec()


def member(number: int, *scores: float, rate: float = 0.5, **given: bool) -> Member:
    evaluations = range(1, len(scores) + 1)
    settings = {evaluation: {RATE: rate} for evaluation in evaluations}
    return Member(
        name=f"t{number}",
        number=number,
        scores=dict(zip(evaluations, scores, strict=True)),
        settings=settings,
        **given,
    )


def turn(
    members: list[Member], name: str, evaluation: int = 1, seed: int = 0, **options
) -> ExploitStep:
    population = PopulationSpec(**options)
    return next_exploit(
        members=members,
        name=name,
        evaluation=evaluation,
        population=population,
        parameters=PARAMETERS,
        seed=seed,
    )


EIGHT = [member(number, number / 10, rate=number / 10) for number in range(8)]


def test_the_worst_quarter_copies_the_best_quarter_and_nobody_else_does() -> None:
    sources = {each.name: turn(EIGHT, each.name).source for each in EIGHT}
    assert all(sources[name] in {"t6", "t7"} for name in ("t0", "t1"))
    assert not any(sources[f"t{number}"] for number in range(2, 8))
    chosen = {turn(EIGHT, "t0", seed=seed).source for seed in range(20)}
    assert chosen == {"t6", "t7"}


def test_what_is_copied_is_the_source_s_value_times_a_factor_or_drawn_anew() -> None:
    factors = set()
    for seed in range(40):
        taken = turn(EIGHT, "t0", seed=seed, resample_probability=0.0)
        source = float(str(taken.source)[1:]) / 10
        factors.add(round(taken.settings[RATE] / source, 6))
    assert factors == {0.8, 1.2}
    anew = {turn(EIGHT, "t0", seed=s, resample_probability=1.0).settings[RATE] for s in range(40)}
    assert len(anew) == 40
    assert 0 <= min(anew) < 0.2 < 0.7 < max(anew) <= 0.9


@pytest.mark.parametrize(
    ("value", "parameter", "results"),
    [
        (0.85, Range(min=0.0, max=0.9), {0.9, 0.68}),
        # 0.36 and 0.24 before they are taken to a step.
        (0.3, Range(min=0.0, max=0.9, step=0.1), {0.4, 0.2}),
        (1e-4, Range(min=1e-4, max=1e-2, scale="log"), {1e-4, 1.2e-4}),
        (0.0, Range(min=0.0, max=0.9), {0.0}),
    ],
)
def test_a_changed_value_stays_in_its_range_and_on_its_steps(value, parameter, results) -> None:
    never = PopulationSpec(resample_probability=0.0)
    found = {round(explored(value, parameter, never, random.Random(s)), 9) for s in range(20)}
    assert found == results


def test_members_are_compared_at_the_same_evaluation() -> None:
    ahead = [member(number, 0.1, 0.9) for number in range(3)]
    late = member(3, 0.2)
    assert turn([*ahead, late], "t3", 1) == ExploitStep(1)
    assert turn([*ahead, late], "t0", 2) == ExploitStep(2), "only three have reached it"
    worst = member(4, 0.3, 0.1)
    assert turn([*ahead, worst], "t4", 2).source in {"t0", "t1", "t2"}


def test_nobody_copies_before_enough_have_reached_the_evaluation() -> None:
    assert turn(EIGHT[:3], "t0") == ExploitStep(1)
    assert turn(EIGHT[:4], "t0").source == "t3"
    assert turn(EIGHT[:2], "t0", min_members=2).source == "t1"


def test_a_baseline_keeps_its_values_and_may_be_copied() -> None:
    kept = [replace(each, is_baseline=True) for each in EIGHT]
    assert turn(kept, "t0") == ExploitStep(1)
    assert turn([EIGHT[0], *kept[1:]], "t0").source in {"t6", "t7"}


def test_of_equal_scores_nothing_is_copied() -> None:
    assert turn([member(number, 0.5) for number in range(8)], "t7") == ExploitStep(1)


def test_a_score_that_is_not_finite_neither_copies_nor_is_copied() -> None:
    odd = [member(8, float("nan")), member(9, float("inf"))]
    assert turn([*EIGHT, *odd], "t8") == ExploitStep(1)
    assert {turn([*EIGHT, *odd], "t0", seed=seed).source for seed in range(20)} == {"t6", "t7"}


def test_half_of_the_members_at_most_copy() -> None:
    five = EIGHT[:5]
    copies = [turn(five, each.name, quantile=0.5).source is not None for each in five]
    assert copies == [True, True, False, False, False]


def test_a_turn_is_drawn_from_the_seed_the_member_and_the_evaluation_alone() -> None:
    assert turn(EIGHT, "t0", seed=3) == turn(list(reversed(EIGHT)), "t0", seed=3)
    assert len({str(turn(EIGHT, "t0", seed=seed)) for seed in range(10)}) > 3
