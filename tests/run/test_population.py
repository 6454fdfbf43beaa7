"""Turns as the ledger keeps them: decided once, replayed from what was known, compared nowhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from droplora_sweep.errors import InputError
from droplora_sweep.ledger.model_card import model_card
from droplora_sweep.ledger.reader import Ledger
from droplora_sweep.ledger.writer import LedgerWriter
from droplora_sweep.mlflow_view.values import trial_tags
from droplora_sweep.plan.plan import make_plan
from droplora_sweep.plan.survey import prepare, survey
from droplora_sweep.records.trial import TrialState, trial_id
from droplora_sweep.run.forking import past_of
from droplora_sweep.run.population import has_copied, members_of, missing_exploit
from droplora_sweep.run.rerunning import rerun
from droplora_sweep.run.warm_start import earlier_trials
from droplora_sweep.search.history import search_history
from droplora_sweep.spec import ExploitStep, SweepSpec, fingerprint, load_sweep_file, resolve
from tests.recording import evaluated, planned

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RATE = "adapter.pruning_rate"
SWEEP = SweepSpec.model_validate(
    {
        "name": "q",
        "search": {
            "parameters": {RATE: {"min": 0.0, "max": 0.9}},
            "population": {"min_members": 2, "quantile": 0.5},
            "sampler": "random",
            "stopping": {"kind": "none"},
        },
    }
)


class Driver:
    """Writes what happens to members as a driver does; only the first baseline's rate is 0.5."""

    def __init__(self, ledger: LedgerWriter) -> None:
        self.ledger = ledger
        self.names: list[str] = []

    def start(self, rate: float, origin: str | None = None, **given: Any) -> str:
        number, spec = len(self.names), resolve({RATE: rate}, SWEEP)
        digest = fingerprint(spec, {}, {}, num_workers=2)
        name = trial_id(number, digest)
        self.ledger.trial_started(
            planned(name, number, digest, spec, {RATE: rate}, **given), origin=origin
        )
        self.names.append(name)
        return name

    def report(self, name: str, evaluation: int, score: float) -> ExploitStep | None:
        self.ledger.trial_reported(
            name, evaluated(evaluation, 10 * evaluation, {"val/mean": score}, num_evaluations=3)
        )
        return missing_exploit(self.ledger.record, name, SWEEP)

    def exploit(self, name: str) -> ExploitStep:
        exploit = missing_exploit(self.ledger.record, name, SWEEP)
        assert exploit is not None
        self.ledger.trial_exploited(name, exploit)
        return exploit


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[Driver]:
    ledger = LedgerWriter.create(tmp_path, SWEEP)
    yield Driver(ledger)
    ledger.close()


def test_a_turn_is_decided_after_each_evaluation_but_the_last_and_once(driver: Driver) -> None:
    first, second = driver.start(0.3), driver.start(0.6)
    assert driver.report(first, 1, 0.9) == ExploitStep(1)
    driver.exploit(first)
    assert missing_exploit(driver.ledger.record, first, SWEEP) is None
    assert driver.report(second, 1, 0.1).source == first
    driver.exploit(second)
    # The first is behind now, but what it does after this evaluation has been decided.
    driver.report(driver.start(0.1), 1, 0.95)
    assert missing_exploit(driver.ledger.record, first, SWEEP) is None
    driver.report(first, 2, 0.9)
    assert driver.report(first, 3, 0.9) is None


def test_what_is_copied_next_are_the_values_that_the_source_had_then(driver: Driver) -> None:
    first, second, third = (driver.start(rate) for rate in (0.3, 0.6, 0.7))
    driver.report(first, 1, 0.9)
    driver.exploit(first)
    driver.report(second, 1, 0.1)
    rate = driver.exploit(second).settings[RATE]
    driver.report(second, 2, 0.9)
    driver.exploit(second)
    members = {each.name: each for each in members_of(driver.ledger.record, SWEEP)}
    assert members[second].settings == {1: {RATE: 0.6}, 2: {RATE: rate}}
    driver.report(third, 1, 0.95)
    driver.exploit(third)
    driver.report(third, 2, 0.0)
    taken = driver.exploit(third)
    assert (taken.evaluation, taken.source) == (2, second)


def test_clones_and_what_a_fork_took_over_are_no_members(driver: Driver) -> None:
    drawn = driver.start(0.3)
    clone = driver.start(0.6, clone_of=drawn)
    other = driver.start(0.7, origin="first/t0003-00000000")
    for name in (drawn, clone, other):
        driver.report(name, 1, 0.5)
    assert [each.name for each in members_of(driver.ledger.record, SWEEP)] == [drawn]
    assert missing_exploit(driver.ledger.record, clone, SWEEP) is None
    assert missing_exploit(driver.ledger.record, other, SWEEP) is None


def test_the_paper_s_setting_and_the_unpruned_one_keep_their_values(driver: Driver) -> None:
    baseline, zero, drawn = (driver.start(rate) for rate in (0.5, 0.0, 0.6))
    kept = {each.name: each.is_baseline for each in members_of(driver.ledger.record, SWEEP)}
    assert kept == {baseline: True, zero: True, drawn: False}


def finish_two(driver: Driver) -> tuple[str, str]:
    """Run two members to their end, of which the second has copied the first."""
    first, second = driver.start(0.3), driver.start(0.6)
    for name, score in ((first, 0.9), (second, 0.1)):
        driver.report(name, 1, score)
        driver.exploit(name)
        for evaluation in (2, 3):
            driver.report(name, evaluation, score)
        driver.ledger.trial_finished(name, TrialState.COMPLETE, adapter_files={"a": b"b"})
    return first, second


def test_a_member_that_has_copied_is_compared_with_nobody(driver: Driver) -> None:
    first, second = finish_two(driver)
    record = driver.ledger.record
    assert [trial.trial_id for trial in record.comparable_trials] == [first]
    assert has_copied(record, second)
    assert not has_copied(record, first)
    known = search_history(record, "val/mean")
    assert [known.trials[number].state for number in (0, 1)] == ["COMPLETE", "FAILED"]
    # A fork would take it for a trial of the rate that it began with.
    past = past_of(record, SWEEP, lambda number, spec: (trial_id(number, "0" * 64), "0" * 64))
    assert [each.origin for each in past] == [f"q/{first}"]
    card = model_card(record.trials[1], "q", {})
    rate = record.trials[1].schedule[0].settings[RATE]
    assert f"* from evaluation 1: weights and optimiser of {first}, `{RATE}: {rate}`" in card
    assert "population" not in model_card(record.trials[0], "q", {})


def test_mlflow_says_whom_a_member_has_copied(driver: Driver) -> None:
    first, _ = finish_two(driver)
    record = driver.ledger.record
    rate = record.trials[1].schedule[0].settings[RATE]
    alone, copied = (trial_tags(trial, record, is_live=False) for trial in record.trials)
    assert copied["copied.1"] == f"{first}: {RATE}={rate}"
    assert not [name for name in alone if name.startswith("copied.")]


def test_later_sweeps_learn_from_members_that_copied_nobody(driver: Driver, tmp_path: Path) -> None:
    first, _ = finish_two(driver)
    file = tmp_path / "new.yaml"
    file.write_text(
        f"name: new\nstorage: {tmp_path}\ntask: {{num_train: 32, num_validation: 8}}\nsearch:\n"
        "  warm_start: [{sweep: q}]\n  parameters: {adapter.pruning_rate: {min: 0.0, max: 0.9}}\n"
    )
    [known] = earlier_trials(prepare(load_sweep_file(file)))
    assert [each.origin for each in known] == [f"q/{first}"]


def test_a_member_that_has_copied_is_not_run_again(driver: Driver, tmp_path: Path) -> None:
    first, second = finish_two(driver)
    file = tmp_path / "q.yaml"
    file.write_text("name: q\ntask: {num_train: 32, num_validation: 8}\n")
    ledger = Ledger.open(tmp_path, "q")
    with pytest.raises(InputError) as refused:
        rerun(
            prepare(load_sweep_file(file)),
            ledger,
            ledger.trial(second),
            address="local",
            output=None,
            say=print,
        )
    assert str(refused.value) == (
        "TRIAL: must have trained by itself, got a member of a population that has copied "
        f"{first}, whose weights then are not kept"
    )


def test_a_plan_says_what_snapshots_take(tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_text(
        "name: q\nadapter: {rank: 4}\ntask: {num_train: 32, num_validation: 8}\n"
        "evaluation: {num_evaluations: 3}\n"
        "search:\n  num_trials: 5\n  population: {}\n  sampler: random\n"
        "  stopping: {kind: none}\n  parameters:\n"
        "    adapter.pruning_rate: {min: 0.0, max: 0.9}\n"
    )
    found = survey(load_sweep_file(file))
    plan = make_plan(found, [{"CPU": 4.0}])
    assert plan.saved is not None
    size = 12 * plan.saved.num_trainable_parameters[1]
    [line] = [note for note in plan.notes if note.startswith("population")]
    assert line.startswith(f"population: 10 snapshots of {size:,} bytes are kept on top")
