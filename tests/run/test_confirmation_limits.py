"""Races and GPU hours of a confirmation, from nothing but its ledger."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from droplora_sweep.analysis.progress import Action
from droplora_sweep.errors import InputError
from droplora_sweep.records.events import EventKind
from droplora_sweep.records.trial import Stage, SweepOutcome
from droplora_sweep.run.confirming import confirmation_of, wanted_on_test
from droplora_sweep.run.spending import gpu_time, has_hours_left
from droplora_sweep.run.starting import Finished, Resume, decide_start
from droplora_sweep.spec import SweepSpec
from tests.run.test_budget import DIGESTS, HOUR, START, Log

if TYPE_CHECKING:
    from droplora_sweep.analysis.evidence import Scores
    from droplora_sweep.run.confirming import Confirmation

TRUTH = {0.0: 0.55, 0.2: 0.62, 0.4: 0.2}
"""True scores: one rate that is better by little, and one that has collapsed."""
GROUP = {"num_workers": 2, "gpus_per_worker": 1}


def make_sweep(**confirm: Any) -> SweepSpec:
    task = {"benchmarks": ["builtin_choice"], "num_validation": 20}
    confirm = {"rates": 2, "seeds": 3, "max_seeds": 8, **confirm}
    return SweepSpec.model_validate({"name": "s", "task": task, "confirm": confirm, "group": GROUP})


class Confirming:
    """A sweep whose runs take an hour of a group of two GPUs each, one after the other."""

    def __init__(self, *, raced: bool = True, **confirm: Any) -> None:
        self.sweep = make_sweep(**confirm)
        self.log = Log(self.sweep).begin(0)
        self.hours = 0.0
        self.raced = raced
        for number, rate in enumerate(TRUTH):
            name = f"t{number:04d}-aaaaaaaa"
            spec = self.sweep.trial.model_dump(mode="json")
            spec["adapter"]["pruning_rate"] = rate
            known = {"number": number, "fingerprint": name, "spec": spec, "params": {}}
            self.log.add(0, EventKind.TRIAL_STARTED, trial_id=name, **known)
            self.log.add(
                0,
                EventKind.TRIAL_REPORTED,
                trial_id=name,
                evaluation=1,
                num_evaluations=1,
                step=1,
                metrics={"val/builtin_choice": 0.5 + rate / 10, "val/mean": 0.5 + rate / 10},
            )
            self.log.finish(0, name)

    def scores(self, name: str) -> Scores:
        trial = next(one for one in self.log.record.trials if one.trial_id == name)
        share = TRUTH[trial.spec["adapter"]["pruning_rate"]]
        drawn = random.Random(name)
        return {"builtin_choice": {str(one): float(drawn.random() < share) for one in range(200)}}

    @property
    def state(self) -> Confirmation:
        found = confirmation_of(self.log.record, self)
        assert found is not None
        return found

    def start(self) -> str:
        arm, seed = self.state.progress.missing[0]
        number = len(self.log.record.confirm_trials)
        name = f"c{number:04d}-aaaaaaaa"
        known = {
            "number": number,
            "fingerprint": name,
            "spec": self.state.run_spec(arm.name, seed).model_dump(mode="json"),
            "params": {},
            "stage": "confirm",
            "arm": arm.name,
            **({"raced": True} if self.raced else {}),
        }
        self.log.add(self.hours, EventKind.TRIAL_STARTED, trial_id=name, **known)
        return name

    def run(self, most: int = 1000) -> int:
        for number in range(most):
            if not self.state.progress.missing:
                return number
            name = self.start()
            self.hours += 1
            self.log.finish(self.hours, name)
        return most

    def again(self, **confirm: Any) -> object:
        """Return the decision about the sweep when it is started again with these limits."""
        record = replace(self.log.record, outcome=SweepOutcome.COMPLETE)
        return decide_start(record, None, make_sweep(**confirm), DIGESTS, {})


def test_later_seeds_go_to_the_arms_that_can_still_be_chosen() -> None:
    sweep = Confirming()
    sweep.run()
    seeds: dict[float, int] = {}
    for trial in sweep.log.record.confirm_trials:
        rate = trial.spec["adapter"]["pruning_rate"]
        seeds[rate] = seeds.get(rate, 0) + 1
    assert seeds[0.4] == 3
    assert seeds[0.0] == seeds[0.2] > 3
    [decision] = sweep.state.progress.decisions
    assert [one.dropped is not None for one in decision.rates] == [False, False, True]


def test_a_confirmation_that_an_earlier_version_began_keeps_its_rule() -> None:
    sweep = Confirming(raced=False)
    assert sweep.state.budget.races
    sweep.run(1)
    assert not sweep.state.budget.races
    sweep.run()
    by_arm = {
        arm: sum(trial.arm == arm for trial in sweep.log.record.confirm_trials)
        for arm in sweep.state.specs
    }
    assert len(set(by_arm.values())) == 1, "all arms had the same seeds"


def test_without_more_seeds_there_is_no_race() -> None:
    assert not Confirming(max_seeds=None).state.budget.races


def test_no_run_starts_beyond_the_gpu_hours_and_complete_looks_alone_count() -> None:
    """Nine runs of the first look take 18 GPU hours; the next look's four would take 8."""
    sweep = Confirming(gpu_hours=21)
    assert sweep.run() == 9
    assert gpu_time(sweep.log.record, stage=Stage.CONFIRM) == 18 * HOUR
    state = sweep.state
    assert state.progress.step.action is Action.STOP_HOURS
    assert state.held_by == (
        "confirm.gpu_hours: 18 of 21 hours are spent, and what is left is too little for another "
        "look"
    )
    [decision] = state.progress.decisions
    assert decision.num_seeds == 3
    assert wanted_on_test(state, state.progress.decisions, sweep.log.record) == {}, "it may go on"


def test_within_the_first_look_it_stops_where_the_hours_are_spent() -> None:
    sweep = Confirming(gpu_hours=7)
    assert sweep.run() == 4
    assert sweep.state.held_by == "confirm.gpu_hours: 8 of 7 hours are spent"
    assert sweep.state.progress.decisions == ()


def test_runs_that_have_begun_are_trained_to_their_end() -> None:
    sweep = Confirming(gpu_hours=7)
    sweep.run(3)
    name = sweep.start()
    now = START + 5 * HOUR
    assert not has_hours_left(sweep.log.record, 7, now)
    found = confirmation_of(sweep.log.record, sweep, now)
    assert found is not None
    [(arm, seed)] = found.progress.missing
    trial = sweep.log.record.confirm_trials[-1]
    assert (name, arm.name, seed) == (trial.trial_id, trial.arm, trial.spec["seed"])


def test_more_hours_continue_it_and_runs_end_it_as_it_is() -> None:
    sweep = Confirming(gpu_hours=21)
    sweep.run()
    assert sweep.again(gpu_hours=21) == Finished(12)
    assert isinstance(sweep.again(gpu_hours=40), Resume)
    assert isinstance(sweep.again(gpu_hours=21, max_runs=9), Resume)
    with pytest.raises(InputError, match=r"confirm\.max_seeds: was 8, now 12"):
        sweep.again(max_seeds=12)

    sweep.sweep = sweep.log.sweep = make_sweep(gpu_hours=40)
    sweep.log.begin(sweep.hours)
    assert sweep.run() >= 4, "it goes on where it was"

    ended = Confirming(gpu_hours=21)
    ended.run()
    ended.sweep = ended.log.sweep = make_sweep(gpu_hours=21, max_runs=9)
    ended.log.begin(ended.hours)
    assert ended.state.progress.step.action is Action.STOP_BUDGET
    assert wanted_on_test(ended.state, ended.state.progress.decisions, ended.log.record)
