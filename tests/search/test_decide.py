"""The sampler `decide`: which rate gets the next trial, and with what else."""

from __future__ import annotations

from collections import Counter
from dataclasses import fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
import pytest

from droplora_sweep.records.messages import Evaluated, tune_result
from droplora_sweep.records.trial import (
    RecordedEvaluation,
    SweepRecord,
    TrialRecord,
    TrialState,
)
from droplora_sweep.search.contenders import UNSEARCHED, contender_of, contenders_of, position_of
from droplora_sweep.search.decide import SearchState, next_setting, num_spread, top_two
from droplora_sweep.search.history import search_history
from droplora_sweep.search.searcher import StudySearcher
from droplora_sweep.search.study import reconciled_study
from droplora_sweep.spec import DecideSpec, SweepSpec
from droplora_sweep.surrogate.coordinates import coordinates_of
from droplora_sweep.surrogate.observed import ObservedTrial
from tests.recording import evaluated

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from droplora_sweep.spec import TrialSpec

RATE, LR, RANK, METHOD, MASK = (
    "adapter.pruning_rate",
    "training.learning_rate",
    "adapter.rank",
    "adapter.method",
    "adapter.mask",
)
STEPPED = {"min": 0.0, "max": 0.8, "step": 0.2}
SPACE = {
    RATE: STEPPED,
    LR: {"min": 1e-4, "max": 1e-2, "scale": "log"},
    RANK: {"values": [4, 8, 16]},
}


def make(space: dict[str, Any] | None = None, **search: Any) -> SweepSpec:
    fields = {"num_trials": 24, "sampler": "decide", "parameters": space or SPACE, **search}
    return SweepSpec.model_validate({"name": "s", "search": fields})


def key(values: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(sorted(values.items()))


def run(
    sweep: SweepSpec,
    num_trials: int,
    score: Callable[[dict[str, Any]], float | None],
    finished: Sequence[ObservedTrial] = (),
    **given: Any,
) -> list[dict[str, Any]]:
    """So many trials one after another: what was drawn."""
    trials = list(finished)
    drawn: list[dict[str, Any]] = []
    for number in range(num_trials):
        known = {key(dict(one.drawn)) for one in trials}
        found = next_setting(
            sweep,
            SearchState(finished=trials, **given),
            sampler=DecideSpec(),
            num_drawn=number,
            parts=[],
            is_known=lambda values, known=known: key(values) in known,  # type: ignore[misc]
        )
        if found is None:
            break
        value = score(found)
        scores = {} if value is None else {1: value}
        trials.append(ObservedTrial(drawn=found, scores=scores, is_complete=value is not None))
        drawn.append(found)
    return drawn


def smooth(values: dict[str, Any]) -> float:
    return 0.6 - 0.2 * (values[RATE] - 0.4) ** 2 + 0.01 * np.log10(values[LR])


def rates(sweep: SweepSpec) -> list[tuple[float, float]]:
    return [(one.low, one.high) for one in contenders_of(sweep)]


def test_every_value_of_a_discrete_range_or_a_choice_is_a_rate() -> None:
    assert rates(make()) == [(rate, rate) for rate in (0.0, 0.2, 0.4, 0.6, 0.8)]
    choice = make({RATE: {"values": [0.5, 0.0, 0.1]}})
    assert rates(choice) == [(rate, rate) for rate in (0.0, 0.1, 0.5)]


@pytest.mark.parametrize(("num_trials", "num_rates"), [(6, 4), (20, 5), (99, 6)])
def test_a_continuous_range_has_four_to_six_strata_of_which_one_is_p_0(
    num_trials: int, num_rates: int
) -> None:
    found = rates(make({RATE: {"min": 0.0, "max": 0.5}}, num_trials=num_trials))
    assert found[0] == (0, 0)
    assert len(found) == num_rates
    assert [low for low, _ in found[2:]] == [high for _, high in found[1:-1]]
    assert found[-1][1] == 0.5


def test_more_values_than_trials_are_strata_too() -> None:
    sweep = make({RATE: {"min": 0.0, "max": 0.9, "step": 0.1}}, num_trials=8)
    found = contenders_of(sweep)
    assert [one.members for one in found] == [
        (0.0,),
        (0.1, 0.2, 0.3),
        (0.4, 0.5, 0.6),
        (0.7, 0.8, 0.9),
    ]
    assert contender_of(0.5, found) is found[2]
    assert contender_of(None, found) is UNSEARCHED


def test_a_value_is_found_at_its_position_again() -> None:
    parameters = make({**SPACE, METHOD: {"values": ["lora", "dora"]}}).search.parameters
    for path, value in {RATE: 0.6, LR: 3e-4, RANK: 8, METHOD: "dora"}.items():
        found = parameters[path].at(position_of(parameters[path], value))
        assert found == (pytest.approx(value) if path == LR else value)


def test_every_rate_gets_a_trial_before_any_gets_its_third() -> None:
    drawn = [values[RATE] for values in run(make(), 10, smooth)]
    assert set(drawn[:5]) == {0.0, 0.2, 0.4, 0.6, 0.8}
    assert max(Counter(drawn[:8]).values()) <= 2


METHODS = {"values": ["lora", "dora", "rslora"]}


def test_every_rate_is_tried_with_every_method_before_any_pair_is_repeated() -> None:
    drawn = run(make({**SPACE, METHOD: METHODS}, num_startup_trials=15), 15, smooth)
    counts = Counter((round(values[RATE], 1), values[METHOD]) for values in drawn)
    assert len(counts) == 15
    assert set(Counter(values[METHOD] for values in drawn[:6]).values()) == {2}


@pytest.mark.parametrize(("num_trials", "num"), [(60, 12), (24, 12), (20, 10), (12, 8)])
def test_each_method_gets_four_trials_before_the_model_is_used_if_half_the_search_has_room(
    num_trials: int, num: int
) -> None:
    sweep = make({**SPACE, METHOD: METHODS}, num_trials=num_trials)
    assert num_spread(sweep, coordinates_of(sweep.search.parameters)) == num
    plain = make(num_trials=num_trials)
    assert num_spread(plain, coordinates_of(plain.search.parameters)) == 8


def test_a_method_with_a_best_rate_of_its_own_is_found() -> None:
    """Two methods are best at 0.2; the third is worse there, and at 0.6 better than both."""

    def score(values: dict[str, Any]) -> float:
        best, level = (0.6, 0.01) if values[METHOD] == "dora" else (0.2, 0.0)
        return 0.6 + level - 0.2 * (values[RATE] - best) ** 2 + 0.01 * np.log10(values[LR])

    drawn = run(make({**SPACE, METHOD: METHODS}), 24, score)
    found = max(drawn, key=score)
    assert (round(found[RATE], 1), found[METHOD]) == (0.6, "dora")
    assert sum(values[METHOD] == "dora" for values in drawn[12:]) >= 6


def test_rates_far_from_those_tried_come_first() -> None:
    baselines = [ObservedTrial(drawn={RATE: rate, LR: 3e-4, RANK: 16}) for rate in (0.4, 0.0)]
    [first] = run(make(), 1, smooth, baselines)
    assert first[RATE] == 0.8


def test_later_trials_go_where_the_decision_is_open() -> None:
    drawn = run(make(num_startup_trials=8), 24, smooth)
    counts = Counter(values[RATE] for values in drawn[8:])
    assert counts[0.0] >= 2, "the difference is to p = 0"
    assert counts[0.4] + counts[0.2] + counts[0.6] > counts[0.8] + 4
    first = np.mean([np.log10(values[LR]) for values in drawn[:8]])
    last = np.mean([np.log10(values[LR]) for values in drawn[16:]])
    assert last > first + 0.3, "the better learning rates are seen and used"


def test_trials_under_way_count() -> None:
    running = [{RATE: rate, LR: 1e-3, RANK: 8} for rate in (0.0, 0.4, 0.8)]
    drawn = run(make(), 2, smooth, running=running)
    assert {values[RATE] for values in drawn} == {0.2, 0.6}


def test_a_rate_of_which_all_trials_fail_does_not_take_the_search() -> None:
    drawn = run(make(), 16, lambda values: None if values[RATE] == 0.8 else smooth(values))
    assert 1 <= Counter(values[RATE] for values in drawn)[0.8] <= 5


def test_trials_of_an_earlier_sweep_inform_the_model_and_cover_no_rate() -> None:
    prior = [
        ObservedTrial(drawn=values, scores={1: smooth(values)})
        for values in (
            {RATE: 0.2 * i, LR: 1e-3 * (1 + j), RANK: 8} for i in range(5) for j in (0, 1)
        )
    ]
    drawn = run(make(), 5, smooth, prior=prior)
    assert {values[RATE] for values in drawn} == {0.0, 0.2, 0.4, 0.6, 0.8}


def test_a_space_without_anything_left_ends_the_search() -> None:
    space = {RATE: STEPPED, RANK: {"values": [4, 8]}}
    drawn = run(make(space), 30, lambda values: values[RATE] + values[RANK] / 100)
    assert len({key(values) for values in drawn}) == len(drawn) == 10


def test_a_large_space_is_tried_whole_before_the_search_ends() -> None:
    """Candidates are drawn, and may miss the last settings."""
    space = {
        RATE: {"values": [0.0, 0.5]},
        RANK: {"min": 1, "max": 20},
        METHOD: {"values": ["lora", "dora", "rslora"]},
    }
    sweep = make(space, num_trials=200)
    left = [{RATE: 0.5, RANK: 13, METHOD: "rslora"}]
    found = next_setting(
        sweep,
        SearchState(),
        sampler=DecideSpec(),
        num_drawn=119,
        parts=[],
        is_known=lambda values: values not in left,
    )
    assert found == left[0]


def test_the_second_contender_is_the_best_of_the_first_draw_that_the_first_loses() -> None:
    is_of = np.array(
        [[True, True, False, False], [False, False, True, False], [False] * 3 + [True]]
    )
    mean = np.array([0.1, 0.5, 0.3, 0.2])
    leads = [0.1, 0.6, 0.5, 0.2]
    assert top_two(mean, np.array([leads, leads, [0.1, 0.2, 0.3, 0.4]]), is_of) == (0, 2)
    assert top_two(mean, np.array([leads, leads]), is_of) == (0, 1), "the next best expectation"
    assert top_two(mean, np.array([[0.0, 0.0, 0.0, 1.0], leads]), is_of) == (2, 0)


def test_what_a_rate_decides_on_is_searched_with_it() -> None:
    """A mask is searched only with a rate that prunes; a rate only with some methods."""
    space = {
        METHOD: {"values": ["lora", "full"]},
        RATE: {**STEPPED, "when": {METHOD: "lora"}},
        MASK: {"values": ["token", "step"], "when": {RATE: [0.2, 0.4, 0.6, 0.8]}},
    }
    drawn = run(make(space), 10, lambda values: 0.5 + 0.1 * values.get(RATE, 0))
    assert {values.get(RATE) for values in drawn} >= {None, 0.0, 0.2, 0.4, 0.6, 0.8}
    for values in drawn:
        assert (RATE in values) == (values[METHOD] == "lora")
        assert (MASK in values) == bool(values.get(RATE))


NOW = datetime(2026, 1, 1, tzinfo=UTC)


def identify(number: int, spec: TrialSpec) -> tuple[str, str]:
    rate = spec.training.learning_rate
    return f"t{number}", f"{spec.adapter.pruning_rate} {rate} {spec.adapter.rank}"


def searcher_of(sweep: SweepSpec, known: Any = None) -> StudySearcher:
    study = optuna.create_study(direction="maximize")
    trials = {} if known is None else known.trials
    return StudySearcher(
        sweep=sweep,
        study=reconciled_study(study, trials, sweep),
        identify=identify,
        room=lambda: 99,
        trials_folder="trials",
        known=known,
    )


def test_a_resumed_search_learns_from_the_same_examples() -> None:
    """Live, a group reports them; resumed, they are read from each trial's results."""
    sweep = make(queue_baselines=False, stopping="none")
    generator = np.random.default_rng(0)
    live = searcher_of(sweep)
    records, examples = [], {}
    for number in range(10):
        live.suggest(f"tune{number}")
        planned = live.planned(f"tune{number}")
        right = (generator.random(50) < smooth(dict(planned.drawn))).astype(float).tolist()
        metrics = {"val/mean": float(np.mean(right)), "val/builtin_choice": float(np.mean(right))}
        names = sweep.task.benchmarks
        outcomes = dict.fromkeys(names, right)
        evaluation = evaluated(1, 10, metrics, num_evaluations=1, outcomes=outcomes)
        live.on_trial_complete(f"tune{number}", tune_result(Evaluated(evaluation)))
        examples[f"t{number}"] = {
            name: {f"e{index:02d}": right[index] for index in reversed(range(50))} for name in names
        }
        records.append(
            TrialRecord(
                **{one.name: getattr(planned, one.name) for one in fields(planned)},
                state=TrialState.COMPLETE,
                started=NOW,
                evaluations=(
                    RecordedEvaluation(
                        number=1, num_evaluations=1, step=10, metrics=metrics, time=NOW
                    ),
                ),
                metrics=metrics,
            )
        )
    record = SweepRecord(
        sweep_id="1",
        name="s",
        spec=sweep.model_dump(mode="json"),
        data_digests={},
        versions={},
        started=NOW,
        trials=tuple(records),
    )
    drawn = []
    for one in (
        live,
        searcher_of(sweep, search_history(record, sweep.search.metric, examples.get)),
        searcher_of(sweep, search_history(record, sweep.search.metric)),
    ):
        one.suggest("next")
        drawn.append(one.planned("next").drawn)
    assert drawn[0] == drawn[1]
    assert drawn[0] != drawn[2], "the noise that examples tell is used"
