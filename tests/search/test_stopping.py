"""Stopping rules: who is stopped, never a baseline, and that a resumed sweep decides alike."""

from __future__ import annotations

from collections import Counter
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from ray.tune.schedulers import TrialScheduler

from droplora_sweep.analysis.pairing import is_behind
from droplora_sweep.records.messages import SUBMISSION, Evaluated, Submission, tune_result
from droplora_sweep.records.trial import TrialState
from droplora_sweep.search.history import TrialHistory
from droplora_sweep.search.rules import Scored, below_median, bracket_of, is_futile
from droplora_sweep.search.scheduler import BASELINE, NUMBER, is_paired, make_scheduler
from droplora_sweep.spec import SweepSpec
from tests.recording import evaluated

KINDS = ("asha", "hyperband", "median", "futility")
NUM_EVALUATIONS = 9
NUM_EXAMPLES = 64
behind = partial(is_behind, subject="mean")


def make_sweep(kind: str, **options: Any) -> SweepSpec:
    return SweepSpec.model_validate(
        {
            "name": "s",
            "search": {"stopping": {"kind": kind, **options}},
            "evaluation": {"num_evaluations": NUM_EVALUATIONS},
        }
    )


def scores_of(number: int) -> list[float]:
    """A trial's score at each evaluation: curves of different heights that rise alike."""
    height = float(np.random.default_rng(number).random())
    return [height * (1 - 0.5 ** (evaluation + 1)) for evaluation in range(NUM_EVALUATIONS)]


def outcomes_of(score: float) -> dict[str, list[float | None]]:
    num_right = round(score * NUM_EXAMPLES)
    return {"toy": [1.0] * num_right + [0.0] * (NUM_EXAMPLES - num_right)}


def client(number: int, *, is_baseline: bool = False) -> Any:
    submission = Submission(trial_id=f"t{number}", spec="")
    config = {SUBMISSION: submission, NUMBER: number, BASELINE: is_baseline}
    return SimpleNamespace(trial_id=f"tune{number}", config=config)


def result(evaluation: int, score: float) -> dict[str, Any]:
    outcomes = outcomes_of(score) if np.isfinite(score) else {}
    found = evaluated(
        evaluation,
        10 * evaluation,
        {"val/mean": score},
        num_evaluations=NUM_EVALUATIONS,
        outcomes=outcomes,
    )
    return tune_result(Evaluated(found))


def run(scheduler: Any, numbers: Any, *, baselines: tuple[int, ...] = ()) -> dict[int, int]:
    """Trials one after another; how many evaluations each reached."""
    reached = {}
    for number in numbers:
        trial = client(number, is_baseline=number in baselines)
        scheduler.on_trial_add(None, trial)
        for evaluation, score in enumerate(scores_of(number), start=1):
            reached[number] = evaluation
            decision = scheduler.on_trial_result(None, trial, result(evaluation, score))
            if decision == TrialScheduler.STOP:
                break
    return reached


def known(number: int, num_evaluations: int, state: TrialState) -> TrialHistory:
    scores = dict(enumerate(scores_of(number)[:num_evaluations], start=1))
    outcomes = {evaluation: outcomes_of(score) for evaluation, score in scores.items()}
    return TrialHistory(
        number=number, name=f"t{number}", drawn={}, state=state, scores=scores, outcomes=outcomes
    )


def ended(num_evaluations: int) -> TrialState:
    return TrialState.COMPLETE if num_evaluations == NUM_EVALUATIONS else TrialState.STOPPED


@pytest.mark.parametrize("kind", KINDS)
def test_the_best_trial_runs_to_its_end_and_many_others_do_not(kind: str) -> None:
    reached = run(make_scheduler(make_sweep(kind), is_behind=behind), range(30))
    best = max(range(30), key=lambda number: scores_of(number)[-1])
    assert reached[best] == NUM_EVALUATIONS
    assert 5 <= sum(count < NUM_EVALUATIONS for count in reached.values()) <= 28


@pytest.mark.parametrize("kind", KINDS)
def test_a_baseline_is_never_stopped(kind: str) -> None:
    worst = sorted(range(30), key=lambda number: scores_of(number)[-1])[:5]
    order = [number for number in range(30) if number not in worst] + worst
    scheduler = make_scheduler(make_sweep(kind), is_behind=behind)
    reached = run(scheduler, order, baselines=tuple(worst))
    assert [reached[number] for number in worst] == [NUM_EVALUATIONS] * 5


@pytest.mark.parametrize("kind", KINDS)
def test_a_sweep_that_goes_on_decides_as_it_would_have(kind: str) -> None:
    sweep = make_sweep(kind)
    whole = run(make_scheduler(sweep, is_behind=behind), range(40))
    trials = [known(number, count, ended(count)) for number, count in whole.items() if number < 25]
    resumed = run(make_scheduler(sweep, trials, behind), range(25, 40))
    assert resumed == {number: whole[number] for number in range(25, 40)}


@pytest.mark.parametrize("kind", KINDS)
def test_the_last_report_of_an_open_trial_is_decided_again(kind: str) -> None:
    sweep = make_sweep(kind)
    before = list(range(25))
    whole = run(make_scheduler(sweep, is_behind=behind), [*before, 30])
    trials = [known(number, whole[number], ended(whole[number])) for number in before]
    stopped_at = whole[30]
    assert stopped_at < NUM_EVALUATIONS, "the case needs a trial that is stopped"
    scheduler: Any = make_scheduler(
        sweep, [*trials, known(30, stopped_at, TrialState.RUNNING)], behind
    )
    trial = client(30)
    scheduler.on_trial_add(None, trial)
    again = result(stopped_at, scores_of(30)[stopped_at - 1])
    assert scheduler.on_trial_result(None, trial, again) == TrialScheduler.STOP


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("score", [float("nan"), float("inf"), float("-inf")])
def test_a_score_that_is_not_finite_stops_nobody(kind: str, score: float) -> None:
    clean: Any = make_scheduler(make_sweep(kind), is_behind=behind)
    odd: Any = make_scheduler(make_sweep(kind), is_behind=behind)
    broken = client(99)
    odd.on_trial_add(None, broken)
    for evaluation in range(1, NUM_EVALUATIONS):
        decision = odd.on_trial_result(None, broken, result(evaluation, score))
        assert decision == TrialScheduler.CONTINUE
    assert run(odd, range(12)) == run(clean, range(12))


@pytest.mark.parametrize("kind", KINDS)
def test_nobody_is_stopped_within_the_grace(kind: str) -> None:
    sweep = make_sweep(kind, grace_evaluations=4)
    reached = run(make_scheduler(sweep, is_behind=behind), range(30))
    assert min(reached.values()) == 4


def test_only_what_compares_examples_keeps_them() -> None:
    assert [kind for kind in (*KINDS, "none") if is_paired(make_sweep(kind))] == ["futility"]


def histories(**scores: list[float]) -> dict[str, dict[int, Scored]]:
    return {
        name: {index: Scored(one, outcomes_of(one)) for index, one in enumerate(given, start=1)}
        for name, given in scores.items()
    }


def test_the_median_is_of_running_means_and_the_trial_has_its_best() -> None:
    rivals = {"a": [0.2, 0.4], "b": [0.4, 0.6], "c": [0.6, 0.8]}  # means 0.3, 0.5, 0.7
    assert below_median(histories(own=[0.45, 0.1], **rivals), "own", 2, min_trials=3)
    assert not below_median(histories(own=[0.5, 0.1], **rivals), "own", 2, min_trials=3)
    assert not below_median(histories(own=[0.1, 0.1], **rivals), "own", 2, min_trials=4)
    short = {**rivals, "c": [0.9]}
    assert not below_median(histories(own=[0.1, 0.1], **short), "own", 2, min_trials=3)


def test_futility_compares_with_the_best_at_the_same_evaluation() -> None:
    rivals = {"best": [0.6, 0.9], "late": [0.95]}
    assert not is_futile(histories(own=[0.1, 0.85], **rivals), "own", 2, is_behind=behind)
    assert is_futile(histories(own=[0.1, 0.7], **rivals), "own", 2, is_behind=behind)
    assert not is_futile(histories(own=[0.1, 0.95], **rivals), "own", 2, is_behind=behind)


def test_behind_is_what_the_paired_interval_says() -> None:
    """Ten examples lost and none gained of 64 is no chance; ten lost and eight gained may be."""
    other: dict[str, list[float | None]] = {"toy": [1.0] * 40 + [0.0] * 24}
    lost: dict[str, list[float | None]] = {"toy": [0.0] * 10 + [1.0] * 30 + [0.0] * 24}
    mixed: dict[str, list[float | None]] = {"toy": [0.0] * 10 + [1.0] * 38 + [0.0] * 16}
    assert behind(lost, other)
    assert not behind(mixed, other)
    assert not behind(other, lost)
    assert is_behind(lost, other, subject="toy")


def test_what_cannot_be_paired_needs_intervals_apart() -> None:
    other: dict[str, list[float | None]] = {"toy": [1.0] * 45 + [0.0] * 19}
    near: dict[str, list[float | None]] = {"toy": [1.0] * 30 + [0.0] * 33}
    far: dict[str, list[float | None]] = {"toy": [1.0] * 10 + [0.0] * 53}
    assert not behind(near, other)
    assert behind(far, other)
    assert not behind({}, other)
    assert not behind({"toy": [None] * 64}, {"toy": [None] * 64})


def test_brackets_have_hyperbands_shares_and_depend_on_the_number_alone() -> None:
    """Of eta 3 and three brackets: 9/3, 3/2 and 1/1 parts."""
    counts = Counter(bracket_of(number, 3, 3) for number in range(110))
    assert counts == {0: 60, 1: 30, 2: 20}
    assert [bracket_of(number, 3, 3) for number in range(6)] == [0, 1, 0, 2, 0, 1]


def test_how_many_equal_trials_are_stopped_as_futile() -> None:
    """The price of comparing with the best of several: ten equal trials at four evaluations."""
    generator = np.random.default_rng(0)
    num_stopped = num_trials = 0
    for _ in range(40):
        easy = generator.random(200)  # each example's chance to be answered
        rivals: dict[str, dict[int, Scored]] = {}
        for number in range(10):
            name = f"t{number}"
            rivals[name] = {}
            num_trials += 1
            for evaluation in range(1, 5):
                drawn = (generator.random(200) < easy).astype(float)
                outcomes: Any = {"toy": drawn.tolist()}
                rivals[name][evaluation] = Scored(float(drawn.mean()), outcomes)
                if is_futile(rivals, name, evaluation, is_behind=behind):
                    num_stopped += 1
                    break
    assert 0.15 < num_stopped / num_trials < 0.3, "about a quarter, as the field's text says"
