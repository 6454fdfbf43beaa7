"""The confirmation of a sweep, from nothing but its ledger."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest

from droplora_sweep.analysis.confirmed import ConfirmedVerdict
from droplora_sweep.errors import InputError
from droplora_sweep.evaluation.results import ExampleResult
from droplora_sweep.ledger.reader import Ledger
from droplora_sweep.ledger.writer import LedgerWriter
from droplora_sweep.records.trial import Stage, SweepOutcome, TrialState
from droplora_sweep.run.confirming import confirmation_of, looked_at_note, wanted_on_test
from droplora_sweep.run.deciding import conclusion, confirmed, on_test, stage_text
from droplora_sweep.run.driving import has_work
from droplora_sweep.run.runs import Identity
from droplora_sweep.run.starting import Finished, Resume, decide_start
from droplora_sweep.spec import SweepSpec
from tests.recording import evaluated, planned

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONFIRM = {"rates": 2, "seeds": 3, "margin": 0.0}
IDENTITY = Identity({}, {"torch": "2", "transformers": "5", "peft": "0", "deepspeed": "0"}, 1)
TRUTH = {0.0: 0.4, 0.2: 0.8, 0.4: 0.45, 0.6: 0.3}
NUM_EXAMPLES = 150


def make_sweep(**fields: Any) -> SweepSpec:
    task = {"benchmarks": ["builtin_choice"], "num_validation": 20}
    return SweepSpec.model_validate({"name": "s", "task": task, "confirm": CONFIRM, **fields})


def answers(share: float, seed: object) -> list[ExampleResult]:
    drawn = random.Random(str(seed))
    return [
        ExampleResult("builtin_choice", f"e{index}", "", None, "a", drawn.random() < share, 1)
        for index in range(NUM_EXAMPLES)
    ]


DIGESTS = {"builtin_choice/test": "ab" * 32}


class Driver:
    """Writes trials as a driver does, without training them."""

    def __init__(self, ledger: LedgerWriter, sweep: SweepSpec) -> None:
        self.ledger = ledger
        self.sweep = sweep

    def search(self, *rates: float, ranks: tuple[int, ...] = ()) -> None:
        for number, rate in enumerate(rates):
            fields = {"pruning_rate": rate} | ({"rank": ranks[number]} if ranks else {})
            adapter = self.sweep.adapter.model_copy(update=fields)
            spec = self.sweep.trial.model_copy(update={"adapter": adapter})
            name, digest = IDENTITY(number, spec)
            self.ledger.trial_started(
                planned(name, number, digest, spec, {"adapter.pruning_rate": rate})
            )
            metrics = {"val/builtin_choice": TRUTH[rate], "val/mean": TRUTH[rate]}
            self.ledger.trial_reported(name, evaluated(1, 10, metrics, num_evaluations=1))
            self.ledger.trial_finished(name, TrialState.COMPLETE, results=[])

    def confirm(self, most: int = 1000) -> int:
        """Run what is missing, at most so many runs; how many it were."""
        num_run = 0
        while num_run < most:
            found = confirmation_of(self.ledger.record, self.ledger)
            assert found is not None
            if not found.progress.missing:
                break
            arm, seed = found.progress.missing[0]
            spec = found.run_spec(arm.name, seed)
            number = len(self.ledger.confirm_records())
            name, digest = IDENTITY(number, spec, stage=Stage.CONFIRM)
            self.ledger.trial_started(
                planned(name, number, digest, spec, {}, stage=Stage.CONFIRM, arm=arm.name)
            )
            share = TRUTH[arm.pruning_rate]
            results = answers(share, (arm.name, seed))
            self.ledger.trial_finished(
                name, TrialState.COMPLETE, adapter_files={"a": b""}, results=results
            )
            num_run += 1
        return num_run

    def wanted(self) -> dict[str, tuple[str, ...]]:
        found = confirmation_of(self.ledger.record, self.ledger)
        assert found is not None
        return wanted_on_test(found, found.progress.decisions, self.ledger.record)

    def test(self, share: float) -> None:
        for name in self.wanted():
            self.ledger.trial_tested(name, answers(share, name))


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[Driver]:
    sweep = make_sweep()
    ledger = LedgerWriter.create(tmp_path, sweep, data_digests=DIGESTS, versions=IDENTITY.versions)
    yield Driver(ledger, sweep)
    ledger.close()


def start(driver: Driver, sweep: SweepSpec, outcome: SweepOutcome | None = None) -> Any:
    """Return the decision about the sweep when it is started again with this spec."""
    from dataclasses import replace

    record = replace(driver.ledger.record, outcome=outcome)
    return decide_start(record, None, sweep, DIGESTS, IDENTITY.versions)


def test_the_runs_repeat_the_best_settings_with_new_seeds_on_new_examples(driver: Driver) -> None:
    driver.search(0.4, 0.0, 0.2, 0.6)
    assert driver.confirm() == 9
    runs = driver.ledger.confirm_records()
    names = {trial.spec["adapter"]["pruning_rate"]: trial.arm for trial in runs}
    assert sorted(names) == [0.0, 0.2, 0.4]
    searched = {trial.trial_id: trial for trial in driver.ledger.search_records()}
    for rate, arm in names.items():
        assert arm is not None
        own = [trial for trial in runs if trial.arm == arm]
        assert [trial.spec["seed"] for trial in own] == [43, 44, 45]
        for trial in own:
            assert trial.spec["adapter"] == searched[arm].spec["adapter"]
            assert trial.spec["training"] == searched[arm].spec["training"]
            assert trial.spec["evaluation"]["split"] == "confirmation"
            assert trial.spec["task"]["num_confirmation"] == 20
        assert searched[arm].spec["adapter"]["pruning_rate"] == rate
    assert all(trial.spec["evaluation"]["split"] == "validation" for trial in searched.values())


def test_p_0_is_an_arm_where_the_search_has_none(driver: Driver) -> None:
    driver.search(0.4, 0.2)
    driver.confirm()
    [baseline] = {one.arm for one in driver.ledger.confirm_records() if one.arm.endswith("@p=0")}
    assert baseline.startswith("t0001-"), "the best setting, without its pruning"
    [decision] = confirmed(driver.ledger)
    assert decision.verdict in (ConfirmedVerdict.BETTER, ConfirmedVerdict.CANNOT_TELL)
    assert {one.arm.pruning_rate for one in decision.rates} == {0.0, 0.2, 0.4}


def test_controls_are_runs_of_the_rates_settings_without_pruning(tmp_path: Path) -> None:
    sweep = make_sweep(confirm={**CONFIRM, "controls": True})
    ledger = LedgerWriter.create(tmp_path, sweep, versions=IDENTITY.versions)
    driver = Driver(ledger, sweep)
    # The second rate has the rank of the best p = 0, which so is its control.
    driver.search(0.0, 0.2, 0.4, ranks=(8, 4, 8))
    assert driver.confirm() == 12
    runs = ledger.confirm_records()
    arms = {(each.spec["adapter"]["pruning_rate"], each.spec["adapter"]["rank"]) for each in runs}
    assert arms == {(0.0, 8), (0.2, 4), (0.0, 4), (0.4, 8)}
    [decision] = confirmed(ledger)
    plain, low, high = decision.rates
    assert (low.arm.control, high.arm.control) == (f"{low.arm.name}@p=0", plain.arm.name)
    assert [one.arm.name for one in decision.controls] == [low.arm.control]
    assert low.own_difference is not None
    assert high.own_difference is None
    ledger.close()


@pytest.mark.parametrize("stops", [(4,), (1, 2, 3, 1)])
def test_it_goes_on_wherever_it_was_cut_off_and_runs_nothing_twice(
    driver: Driver, stops: tuple[int, ...]
) -> None:
    driver.search(0.4, 0.0, 0.2, 0.6)
    for most in stops:
        driver.confirm(most)
        again = Ledger.open(driver.ledger.storage, "s")
        assert confirmed(again) == (), "nothing is decided on part of a look"
    assert sum(stops) + driver.confirm() == 9
    fingerprints = [trial.fingerprint for trial in driver.ledger.confirm_records()]
    assert len(set(fingerprints)) == 9
    assert confirmed(Ledger.open(driver.ledger.storage, "s")) == confirmed(driver.ledger)


def test_the_winner_and_p_0_are_tested_with_all_their_seeds_once(driver: Driver) -> None:
    driver.search(0.4, 0.0, 0.2, 0.6)
    driver.confirm(8)
    assert driver.wanted() == {}
    driver.confirm()
    wanted = driver.wanted()
    rates = [driver.ledger.trial(name).spec["adapter"]["pruning_rate"] for name in wanted]
    assert sorted(rates) == [0.0] * 3 + [0.2] * 3
    driver.test(0.5)
    assert driver.wanted() == {}
    [tested] = on_test(driver.ledger)
    assert (tested.arm.pruning_rate, tested.num_seeds) == (0.2, 3)


def test_groups_start_where_there_is_something_to_train_or_to_score(driver: Driver) -> None:
    driver.search(0.4, 0.0, 0.2, 0.6)
    assert has_work(driver.ledger)
    driver.confirm(8)
    assert has_work(driver.ledger)
    driver.confirm()
    assert has_work(driver.ledger), "the test split is not scored"
    driver.test(0.5)
    assert not has_work(driver.ledger)


def test_without_a_test_split_nothing_is_tested(tmp_path: Path) -> None:
    ledger = LedgerWriter.create(
        tmp_path,
        sweep := make_sweep(),
        data_digests={"builtin_choice/validation": "ab" * 32},
        versions=IDENTITY.versions,
    )
    driver = Driver(ledger, sweep)
    driver.search(0.4, 0.0, 0.2, 0.6)
    driver.confirm()
    assert driver.wanted() == {}
    assert stage_text(ledger).startswith("stage: confirmation over, every benchmark is decided")
    [decision] = confirmed(ledger)
    assert decision.recommended is not None
    ledger.close()


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_what_is_found_on_test_decides_nothing(driver: Driver, share: float) -> None:
    driver.search(0.4, 0.0, 0.2, 0.6)
    driver.confirm()
    before = confirmed(driver.ledger)
    driver.test(share)
    assert confirmed(driver.ledger) == before
    [decision] = before
    assert decision.recommended is not None
    assert decision.recommended.pruning_rate == 0.2


def test_the_stage_and_the_decision_are_told_in_words(driver: Driver) -> None:
    driver.search(0.4, 0.0, 0.2, 0.6)
    assert stage_text(driver.ledger) == "stage: search"
    assert "Exploratory" in conclusion(driver.ledger)
    driver.confirm(2)
    assert stage_text(driver.ledger) == "stage: confirmation, 2 of 9 runs (3 arms, 3 seeds)"
    assert "Exploratory" in conclusion(driver.ledger)
    driver.confirm()
    assert stage_text(driver.ledger) == "stage: test split, 6 winners' runs to score"
    driver.test(0.5)
    assert stage_text(driver.ledger) == "stage: confirmation over, every benchmark is decided"
    text = conclusion(driver.ledger)
    assert "builtin_choice: use p = 0.2" in text
    assert "builtin_choice on test: p = 0.2 scores " in text
    assert "Exploratory" not in text


def test_a_clone_made_meanwhile_is_no_arm(driver: Driver) -> None:
    driver.search(0.4, 0.0, 0.2)
    driver.confirm(1)
    before = confirmation_of(driver.ledger.record, driver.ledger)
    adapter = driver.sweep.adapter.model_copy(update={"pruning_rate": 0.6})
    spec = driver.sweep.trial.model_copy(update={"adapter": adapter})
    name, digest = IDENTITY(9, spec)
    driver.ledger.trial_started(planned(name, 9, digest, spec, {}))
    driver.ledger.trial_reported(
        name, evaluated(1, 10, {"val/builtin_choice": 1.0}, num_evaluations=1)
    )
    driver.ledger.trial_finished(name, TrialState.COMPLETE, results=[])
    after = confirmation_of(driver.ledger.record, driver.ledger)
    assert before is not None
    assert after is not None
    assert after.comparisons == before.comparisons


def test_a_finished_sweep_can_be_given_a_confirmation(driver: Driver) -> None:
    driver.search(0.4, 0.0)
    bare = make_sweep(confirm=None, task=driver.sweep.task)
    assert isinstance(start(driver, driver.sweep, SweepOutcome.COMPLETE), Finished)
    found = start(driver, make_sweep(confirm={**CONFIRM, "seeds": 5}), SweepOutcome.COMPLETE)
    assert isinstance(found, Resume)
    assert isinstance(start(driver, bare, SweepOutcome.COMPLETE), Resume)


def test_what_is_compared_is_fixed_by_the_first_run(driver: Driver) -> None:
    driver.search(0.4, 0.0, 0.2)
    driver.confirm(1)
    with pytest.raises(InputError) as caught:
        start(driver, make_sweep(confirm={**CONFIRM, "seeds": 4}, search={"num_trials": 40}))
    assert [str(fault) for fault in caught.value.faults][:-1] == [
        "search.num_trials: was not set, now 40, and its best settings are being confirmed, for "
        "which this is fixed",
        "confirm.seeds: was 3, now 4, and its best settings are being confirmed, for which this is "
        "fixed",
    ]
    assert isinstance(start(driver, make_sweep(confirm={**CONFIRM, "max_runs": 50})), Resume)


def test_after_the_test_split_was_scored_nothing_is_decided_anew(driver: Driver) -> None:
    driver.search(0.4, 0.0, 0.2)
    driver.confirm()
    assert looked_at_note(driver.ledger.record) is None
    driver.test(0.5)
    with pytest.raises(InputError, match="and the test split has been scored, after which") as one:
        start(driver, make_sweep(confirm={**CONFIRM, "max_runs": 50}))
    assert "--fork NEWNAME" in str(one.value)
    note = looked_at_note(driver.ledger.record)
    assert note is not None
    assert note.startswith("s has scored its winners on the test split")
