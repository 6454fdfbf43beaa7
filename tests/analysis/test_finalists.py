"""Finalists by posterior: the settings worth confirming, by a model over all trials."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from droplora_sweep.analysis.comparisons import (
    affordable_comparisons,
    all_arms,
    choose_comparisons,
    ties_text,
)
from droplora_sweep.analysis.surface.posterior import SearchPosterior
from droplora_sweep.records.trial import RecordedEvaluation, TrialRecord, TrialState
from droplora_sweep.spec import SweepSpec, resolve

if TYPE_CHECKING:
    from droplora_sweep.analysis.evidence import Scores

NOW = datetime(2026, 1, 1, tzinfo=UTC)
RATE, LR = "adapter.pruning_rate", "training.learning_rate"
SPACE = {
    RATE: {"min": 0.0, "max": 0.6, "step": 0.2},
    LR: {"min": 1e-4, "max": 1e-2, "scale": "log"},
}
NUM_EXAMPLES = 400


class Search:
    """Complete trials of a search, with their examples' scores."""

    def __init__(self, *benchmarks: str) -> None:
        self.benchmarks = benchmarks or ("b",)
        self.sweep = SweepSpec.model_validate(
            {
                "name": "s",
                "task": {"benchmarks": list(self.benchmarks)},
                "search": {"parameters": SPACE},
            }
        )
        self.records: list[TrialRecord] = []
        self.scores: dict[str, Scores] = {}
        self.likelihoods: dict[str, Scores] = {}
        generator = np.random.default_rng(0)
        self.hard_E = generator.permutation((np.arange(NUM_EXAMPLES) + 0.5) / NUM_EXAMPLES)

    def add(self, rate: float, lr: float, *shares: float, state: str = "COMPLETE") -> str:
        """A trial that has these shares of the examples right, the easiest."""
        number = len(self.records)
        name = f"t{number:04d}-{number:08x}"
        drawn = {RATE: rate, LR: lr}
        spec = resolve(drawn, self.sweep).model_dump(mode="json")
        metrics = {
            f"val/{one}": float(np.mean(self.hard_E < share))
            for one, share in zip(self.benchmarks, shares, strict=True)
        }
        evaluation = RecordedEvaluation(
            number=1, num_evaluations=1, step=1, metrics=metrics, time=NOW
        )
        self.records.append(
            TrialRecord(
                trial_id=name,
                number=number,
                fingerprint=str(number),
                spec=spec,
                params=drawn,
                drawn=drawn,
                state=TrialState(state),
                started=NOW,
                evaluations=(evaluation,),
                metrics=metrics,
            )
        )
        self.scores[name] = {
            one: {f"e{i:03d}": float(hard < share) for i, hard in enumerate(self.hard_E)}
            for one, share in zip(self.benchmarks, shares, strict=True)
        }
        return name

    @property
    def model(self) -> SearchPosterior:
        return SearchPosterior(self.records, self.sweep.search.parameters, self.scores.get)

    @property
    def model_by_likelihood(self) -> SearchPosterior:
        parameters = self.sweep.search.parameters
        return SearchPosterior(
            self.records, parameters, self.scores.get, likelihoods=self.likelihoods.get
        )

    def choose(self, **given: Any) -> dict[str, list[str]]:
        found = choose_comparisons(self.records, model=self.model, **given)
        return {one.subject: [arm.name for arm in one.arms] for one in found}


def bump(rate: float, lr: float) -> float:
    """Best at p = 0.4 and 1e-3."""
    return 0.62 - 0.3 * (rate - 0.4) ** 2 - 0.03 * (np.log10(lr) + 3) ** 2


def noisy(seed: int) -> Search:
    """A smooth score of 24 trials that chance moves by 1.5 points."""
    search, generator = Search(), np.random.default_rng(seed)
    for rate in (0.0, 0.2, 0.4, 0.6):
        for lr in 10 ** generator.uniform(-4, -2, 6):
            search.add(rate, lr, bump(rate, lr) + 0.015 * generator.standard_normal())
    return search


@pytest.fixture
def lucky() -> Search:
    return noisy(0)


def test_lucky_trials_are_discounted() -> None:
    """Picked settings are truly better than those of the best observed scores, with p = 0 too."""
    pruned, unpruned, is_best = [], [], []
    for seed in range(16):
        search = noisy(seed)
        drawn = {one.trial_id: one.drawn for one in search.records}
        for model in (None, search.model):
            [found] = choose_comparisons(search.records, num_rates=1, model=model)
            zero, first = (drawn[arm.name] for arm in found.arms)
            pruned.append(bump(first[RATE], first[LR]))
            unpruned.append(bump(zero[RATE], zero[LR]))
            is_best.append(first[RATE] == 0.4)
    for truths in (pruned, unpruned):
        assert np.mean(truths[1::2]) > np.mean(truths[::2]) + 0.001
    assert np.mean(is_best[1::2]) >= np.mean(is_best[::2])


def test_the_likeliest_rates_are_picked_in_their_order(lucky: Search) -> None:
    [arms] = choose_comparisons(lucky.records, num_rates=3, model=lucky.model)
    assert len({arm.pruning_rate for arm in arms.arms}) == len(arms.arms) == 4
    chances = lucky.model.of("b")
    assert chances is not None
    found = chances.chances([arm.name for arm in arms.arms[1:]])
    assert found == sorted(found, reverse=True)
    assert arms.num_candidates == 18
    assert ties_text([arms]) == "", "the model tells equal scores apart"


def test_every_arm_is_a_setting_that_was_tried_and_complete(lucky: Search) -> None:
    lucky.add(0.4, 1.1e-3, 0.9, state="STOPPED")
    lucky.add(0.2, 1.1e-3, 0.9, state="FAILED")
    [names] = lucky.choose().values()
    complete = {one.trial_id for one in lucky.records if one.state is TrialState.COMPLETE}
    assert set(names) <= complete


def test_finalists_by_likelihood() -> None:
    """Settings that the references prefer are picked; a benchmark without any goes by scores."""
    search, generator = Search("a", "b"), np.random.default_rng(0)
    hard_E = generator.random(NUM_EXAMPLES)
    for rate in (0.0, 0.2, 0.4, 0.6):
        for lr in (3e-4, 1e-3, 3e-3):
            name = search.add(rate, lr, bump(rate, lr), bump(rate, lr))
            bits_E = bump(0.6 - rate, lr) - 1.5 + 0.5 * hard_E
            bits_E += 0.05 * generator.standard_normal(NUM_EXAMPLES)
            search.likelihoods[name] = {"a": {f"e{i:03d}": one for i, one in enumerate(bits_E)}}
            search.records[-1].metrics["bits_per_byte/val/a"] = -float(bits_E.mean())
    model = search.model_by_likelihood
    by_name = {one.trial_id: one.drawn[RATE] for one in search.records}
    found = {
        one.subject: by_name[one.arms[1].name]
        for one in choose_comparisons(search.records, num_rates=1, model=model)
    }
    # The mean's likelihood is over the benchmarks that have references.
    assert found == {"a": 0.2, "b": 0.4, "mean": 0.2}


def test_each_benchmark_has_its_own_model() -> None:
    search = Search("a", "b")
    for rate in (0.0, 0.2, 0.4, 0.6):
        for lr in (3e-4, 1e-3, 3e-3):
            search.add(rate, lr, bump(rate, lr), bump(0.6 - rate, lr))
    names = search.choose(num_rates=1)
    by_name = {one.trial_id: one.drawn[RATE] for one in search.records}
    assert {subject: by_name[arms[1]] for subject, arms in names.items()} == {
        "a": 0.4,
        "b": 0.2,
        "mean": pytest.approx(0.2, abs=0.21),
    }


def test_without_a_model_the_observed_scores_decide(lucky: Search) -> None:
    """Too few trials, equal scores, a trial without its examples."""
    few = Search()
    for rate in (0.0, 0.2, 0.4):
        few.add(rate, 1e-3, bump(rate, 1e-3))
    equal = Search()
    for rate in (0.0, 0.2, 0.4, 0.6, 0.2, 0.4):
        equal.add(rate, 1e-3 * (1 + len(equal.records)), 0.5)
    lucky.scores.popitem()
    for search in (few, equal, lucky):
        assert search.model.of("b") is None
        assert choose_comparisons(search.records, model=search.model) == choose_comparisons(
            search.records
        )


def test_arms_that_have_runs_are_kept_where_the_model_would_pick_others(lucky: Search) -> None:
    """As after rounding on another machine, or where an arm was begun by another choice."""

    def names(*begun: str) -> list[str]:
        found = affordable_comparisons(
            lucky.records, num_rates=1, num_seeds=3, max_runs=None, model=lucky.model, begun=begun
        )
        return [arm.name for arm in all_arms(found)]

    first = names()
    assert names(*first[:1]) == names(*first) == first
    other = next(one.trial_id for one in lucky.records if one.drawn[RATE] == 0.2)
    assert names(other) == [first[0], other]
