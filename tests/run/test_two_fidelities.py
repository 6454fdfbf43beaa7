"""A sweep that searches at low fidelity and confirms in full, from nothing but its ledger."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from droplora_sweep.errors import InputError
from droplora_sweep.evaluation.results import ExampleResult
from droplora_sweep.ledger.model_card import model_card
from droplora_sweep.ledger.writer import LedgerWriter
from droplora_sweep.plan.survey import prepare
from droplora_sweep.present.contents.trials import trials_tables
from droplora_sweep.records.trial import EarlierTrial, Stage, TrialState
from droplora_sweep.run.confirming import confirmation_of
from droplora_sweep.run.control import cloned_spec
from droplora_sweep.run.deciding import conclusion, notes, winners_of
from droplora_sweep.run.forking import past_of
from droplora_sweep.run.runs import Identity, queue_of, take_over_runs
from droplora_sweep.run.starting import Resume, decide_start
from droplora_sweep.run.warm_start import warm_start
from droplora_sweep.spec import SweepSpec, resolve
from droplora_sweep.spec.loader import recorded_sweep_file
from tests.recording import evaluated, planned

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

IDENTIFY = Identity({}, {"torch": "2", "transformers": "5", "peft": "0", "deepspeed": "0"}, 1)
RATES = {0.0: 0.4, 0.2: 0.8, 0.4: 0.5}
TENTH = {"task.num_train": 0.1, "training.epochs": 1}
LESS = "10% of the training examples, 1 epoch of 3"


def make_sweep(fidelity: dict[str, Any] | None = TENTH, **search: Any) -> SweepSpec:
    parameters = {"adapter.pruning_rate": {"values": list(RATES)}}
    return SweepSpec.model_validate(
        {
            "name": "s",
            "task": {"benchmarks": ["builtin_choice"], "num_validation": 20},
            "confirm": {"rates": 1, "seeds": 3, "margin": 0.0},
            "search": {"parameters": parameters, "fidelity": fidelity, **search},
        }
    )


def results(share: float) -> list[ExampleResult]:
    return [
        ExampleResult("builtin_choice", f"e{index}", "", None, "a", index < 100 * share, 1)
        for index in range(100)
    ]


def search(ledger: LedgerWriter, sweep: SweepSpec) -> None:
    for number, (rate, score) in enumerate(RATES.items()):
        drawn = {"adapter.pruning_rate": rate}
        spec = resolve(drawn, sweep)
        name, digest = IDENTIFY(number, spec)
        ledger.trial_started(planned(name, number, digest, spec, drawn))
        metrics = {"val/builtin_choice": score, "val/mean": score}
        ledger.trial_reported(name, evaluated(1, 10, metrics, num_evaluations=1))
        ledger.trial_finished(
            name, TrialState.COMPLETE, adapter_files={"a": b""}, results=results(score)
        )


def confirm(ledger: LedgerWriter) -> None:
    while True:
        found = confirmation_of(ledger.record, ledger)
        assert found is not None
        queue = queue_of(found, ledger, IDENTIFY)
        if not queue:
            return
        ledger.trial_started(queue[0])
        rate = queue[0].spec["adapter"]["pruning_rate"]
        ledger.trial_finished(
            queue[0].trial_id,
            TrialState.COMPLETE,
            adapter_files={"a": b""},
            results=results(RATES[rate]),
        )


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[LedgerWriter]:
    sweep = make_sweep()
    with_trials = LedgerWriter.create(tmp_path, sweep, versions=IDENTIFY.versions)
    search(with_trials, sweep)
    yield with_trials
    with_trials.close()


def test_the_confirmation_trains_in_full_what_the_search_found_on_less(
    ledger: LedgerWriter,
) -> None:
    confirm(ledger)
    searched, runs = ledger.search_records(), ledger.confirm_records()
    assert {trial.spec["task"]["train_share"] for trial in searched} == {0.1}
    assert {trial.spec["training"]["epochs"] for trial in searched} == {1}
    assert len(runs) == 6
    assert not any("train_share" in trial.spec["task"] for trial in runs)
    assert {trial.spec["training"]["epochs"] for trial in runs} == {3}
    assert {trial.spec["adapter"]["pruning_rate"] for trial in runs} == {0.0, 0.2}


def test_runs_are_those_of_a_sweep_that_searched_in_full(
    ledger: LedgerWriter, tmp_path: Path
) -> None:
    full = make_sweep(None)
    with_full = LedgerWriter.create(tmp_path / "full", full, versions=IDENTIFY.versions)
    search(with_full, full)
    for each in (ledger, with_full):
        confirm(each)
    with_full.close()

    low, high = (
        [one.fingerprint for one in each.confirm_records()] for each in (ledger, with_full)
    )
    assert low == high
    searched = [{one.fingerprint for one in each.search_records()} for each in (ledger, with_full)]
    assert not searched[0] & searched[1]


def test_no_run_is_a_trial_of_the_search_even_with_its_seed_and_split(
    ledger: LedgerWriter,
) -> None:
    found = confirmation_of(ledger.record, ledger)
    assert found is not None
    known = {trial.fingerprint for trial in ledger.search_records()}
    for arm in found.specs:
        run = found.run_spec(arm, 42)
        evaluation = run.evaluation.model_copy(update={"split": "validation", "num_evaluations": 4})
        _, digest = IDENTIFY(0, run.model_copy(update={"evaluation": evaluation}))
        assert digest not in known
    assert take_over_runs(found, ledger, IDENTIFY) == []


def test_a_fork_in_full_knows_the_search_and_takes_none_of_it_over(ledger: LedgerWriter) -> None:
    past = past_of(ledger.record, make_sweep(None), IDENTIFY)
    assert [one.taken_over for one in past] == [None] * len(RATES)
    again = past_of(ledger.record, make_sweep(), IDENTIFY)
    assert [one.taken_over for one in again] == [one.trial_id for one in ledger.search_records()]


def test_scores_at_low_fidelity_are_of_another_scale_for_a_warm_start(
    ledger: LedgerWriter,
) -> None:
    earlier = [
        EarlierTrial(origin=f"s/{one.trial_id}", spec=one.spec, metrics=one.metrics, digests={})
        for one in ledger.search_records()
    ]
    informing = {}
    for fidelity in (None, {"task.num_train": 0.1}, TENTH):
        sweep = make_sweep(fidelity, warm_start=[{"sweep": "s"}])
        priors, points = warm_start([earlier], sweep, {})
        informing[str(fidelity)] = (len(priors), len(points))
    assert list(informing.values()) == [(0, 3), (0, 3), (3, 0)]


def test_it_is_said_what_was_seen_at_which_fidelity(ledger: LedgerWriter) -> None:
    assert notes(ledger)[0] == (
        f"The search's trials were trained on less ({LESS}): a rate may gain more or less in full "
        "training, which the confirmation does."
    )
    assert LESS in conclusion(ledger)
    [table] = trials_tables(ledger.record, is_live=False)
    assert f"on the validation split, trained on {LESS} " in table.title

    confirm(ledger)

    assert notes(ledger)[0] == (
        f"The search's trials were trained on less ({LESS}): they chose the settings; what is "
        "confirmed is of full training."
    )
    titles = [table.title for table in trials_tables(ledger.record, is_live=False)]
    assert [LESS in title for title in titles] == [True, False]


def test_winners_are_confirmed_runs_and_a_card_of_another_says_so(ledger: LedgerWriter) -> None:
    [hint] = winners_of(ledger)
    assert hint.kind == "exploratory"
    confirm(ledger)
    [winner] = winners_of(ledger)
    assert winner.trial_id is not None
    run = ledger.trial(winner.trial_id)
    assert run.stage is Stage.CONFIRM
    assert ledger.record.fidelity_of(run) is None

    trial = ledger.search_records()[0]
    card = model_card(trial, "s", trial.metrics, fidelity=ledger.record.fidelity_of(trial))
    assert f"**It was trained on less than the sweep's confirmed runs are: {LESS}.**" in card
    assert "trained on less" not in model_card(run, "s", {})


def test_a_clone_is_trained_on_as_little_as_its_parent(tmp_path: Path) -> None:
    sweep = make_sweep()
    prepared = prepare(recorded_sweep_file(sweep, "s"))
    digests = prepared.data_digests()
    ledger = LedgerWriter.create(tmp_path, sweep, data_digests=digests, versions=IDENTIFY.versions)
    search(ledger, sweep)
    parent = ledger.search_records()[0]

    clone = cloned_spec(ledger, parent, ["adapter.pruning_rate=0.4"], from_adapter=False)

    assert clone == resolve({"adapter.pruning_rate": 0.4}, sweep)
    ledger.close()


def test_another_fidelity_is_refused_on_resume(ledger: LedgerWriter) -> None:
    record = replace(ledger.record, outcome=None)
    assert isinstance(decide_start(record, None, make_sweep(), {}, IDENTIFY.versions), Resume)
    for other, problem in (
        (None, '{"task.num_train": 0.1, "training.epochs": 1}, now not set'),
        ({"task.num_train": 0.2, "training.epochs": 1}, "0.1, now 0.2"),
    ):
        with pytest.raises(InputError, match="another --name") as caught:
            decide_start(record, None, make_sweep(other), {}, IDENTIFY.versions)
        fault = caught.value.faults[0]
        assert fault.field.startswith("search.fidelity")
        assert fault.problem == f"was {problem}"
