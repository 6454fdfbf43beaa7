"""A sweep begins, continues or is refused, with the differences that refuse it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from droplora_sweep.errors import InputError, SweepError
from droplora_sweep.ledger.lease import Holder, Process
from droplora_sweep.ledger.reader import recorded_sweep
from droplora_sweep.plan.survey import prepare
from droplora_sweep.records.trial import SweepOutcome, SweepRecord, TrialRecord, TrialState
from droplora_sweep.run.runs import Identity
from droplora_sweep.run.starting import (
    Begin,
    Finished,
    Resume,
    changes,
    decide_start,
    find_start,
    start_lines,
    with_choices_of,
)
from droplora_sweep.spec import DecideSpec, SweepSpec, TpeSpec, load_sweep_file

if TYPE_CHECKING:
    from collections.abc import Callable

QUICKSTART = Path(__file__).parents[2] / "search_spaces" / "quickstart.yaml"
NOW = datetime(2026, 1, 1, tzinfo=UTC)
DATA = {"boolq/train": "a" * 64}
VERSIONS = {"torch": "2.13.0", "droplora-sweep": "0.1.0"}
HOLDER = Holder(Process("node-3", 41, 7, "boot"), "token", NOW, NOW)
SPACE = {"adapter.rank": {"values": [4, 8]}, "adapter.pruning_rate": {"min": 0.0, "max": 0.5}}


@pytest.fixture
def make() -> Callable[..., SweepSpec]:
    def make(**fields: Any) -> SweepSpec:
        search = {"num_trials": 4, "parameters": SPACE, **fields.pop("search", {})}
        return SweepSpec.model_validate({"name": "s", "search": search, **fields})

    return make


def recorded(
    sweep: SweepSpec, *states: TrialState, outcome: SweepOutcome | None = None
) -> SweepRecord:
    spec = sweep.trial.model_dump(mode="json")
    trials = tuple(
        TrialRecord(
            trial_id=f"t{number:04d}-0000000{number}",
            number=number,
            fingerprint=str(number),
            spec=spec,
            params={},
            drawn={},
            state=state,
            started=NOW,
        )
        for number, state in enumerate(states)
    )
    return SweepRecord(
        sweep_id="5" * 32,
        name="s",
        spec=sweep.model_dump(mode="json"),
        data_digests=DATA,
        versions=VERSIONS,
        started=NOW,
        outcome=outcome,
        trials=trials,
    )


DONE, RUNNING = TrialState.COMPLETE, TrialState.RUNNING


def test_a_new_name_begins(tmp_path: Path) -> None:
    prepared = prepare(load_sweep_file(QUICKSTART, [f"storage={tmp_path}"]))
    identify = Identity(prepared.data_digests(), VERSIONS, num_workers=1)
    assert find_start(prepared, tmp_path, identify, None) == Begin()


def test_a_name_that_is_taken_is_refused(tmp_path: Path) -> None:
    (tmp_path / "quickstart" / "mine").mkdir(parents=True)
    prepared = prepare(load_sweep_file(QUICKSTART, [f"storage={tmp_path}"]))
    identify = Identity(prepared.data_digests(), VERSIONS, num_workers=1)
    with pytest.raises(SweepError) as caught:
        find_start(prepared, tmp_path, identify, None)
    assert str(caught.value) == (
        f"name: must be new in {tmp_path}, got quickstart, which exists; choose another with --name"
    )


def test_a_sweep_with_trials_left_goes_on(make: Any) -> None:
    record = recorded(make(), DONE, TrialState.FAILED, RUNNING)
    assert decide_start(record, None, make(), DATA, VERSIONS) == Resume(2, 1, ())


def test_a_sweep_that_is_driven_is_refused_with_its_driver(make: Any) -> None:
    with pytest.raises(SweepError) as caught:
        decide_start(recorded(make()), HOLDER, make(), DATA, VERSIONS)
    assert str(caught.value) == (
        "s: must have one driver, and is already running on node-3, pid 41, "
        "since 2026-01-01 00:00:00+00:00"
    )


def test_a_sweep_of_before_keeps_what_its_file_leaves_to_a_default(make: Any) -> None:
    """A file without `sampler` and `finalists` meant other ones when its sweep was begun."""
    confirm = {"seeds": 3}
    record = recorded(make(search={"sampler": "tpe"}, confirm=confirm), DONE)
    earlier = {name: value for name, value in record.spec["confirm"].items() if name != "finalists"}
    record = replace(record, spec={**record.spec, "confirm": earlier})
    before = recorded_sweep(record)
    assert before.confirm is not None
    assert before.confirm.finalists == "best_trial"
    now = make(confirm=confirm)
    assert now.search.sampler == DecideSpec()
    with pytest.raises(InputError, match=r"search\.sampler\.kind"):
        decide_start(record, None, now, DATA, VERSIONS)
    continued = with_choices_of(before, now)
    assert continued.search.sampler == TpeSpec()
    assert decide_start(record, None, continued, DATA, VERSIONS) == Resume(1, 0, ())


def test_a_sweep_of_before_stays_in_its_own_mlflow_experiment(make: Any) -> None:
    """Its version had no `tracking.experiment`, and made one for each sweep."""
    record = recorded(make(), DONE)
    assert record.experiment == f"droplora/{record.spec['task']['name']}"
    record = replace(record, spec={**record.spec, "tracking": {"mlflow_uri": None}})
    own = f"s/{record.spec['task']['name']}"
    assert record.experiment == own
    before = recorded_sweep(record)
    assert before.tracking.experiment == own
    continued = with_choices_of(before, make())
    assert continued.tracking.experiment == own
    assert decide_start(record, None, continued, DATA, VERSIONS) == Resume(1, 0, ())
    moved = make(tracking={"experiment": "mine"})
    assert with_choices_of(before, moved).tracking.experiment == "mine"


def test_what_a_file_names_is_not_replaced(make: Any) -> None:
    before = make(search={"sampler": "tpe"}, confirm={"finalists": "best_trial"})
    named = make(search={"sampler": "decide"}, confirm={"finalists": "posterior"})
    assert with_choices_of(before, named) == named
    other = make(search={"sampler": "random"})
    assert with_choices_of(other, make()).search.sampler == DecideSpec()


def test_a_finished_sweep_has_nothing_left_unless_more_is_wanted(make: Any) -> None:
    record = recorded(make(), *[DONE] * 4, outcome=SweepOutcome.COMPLETE)
    assert decide_start(record, None, make(), DATA, VERSIONS) == Finished(4)
    longer = make(search={"num_trials": 6})
    start = decide_start(record, None, longer, DATA, VERSIONS)
    assert isinstance(start, Resume)
    assert start_lines(start, None) == [
        "resumes: 4 trials finished, 0 unfinished",
        "from here on: search.num_trials was 4, now 6",
    ]


def test_a_small_space_that_was_exhausted_stays_finished(make: Any) -> None:
    record = recorded(make(), DONE, DONE, outcome=SweepOutcome.COMPLETE)
    assert decide_start(record, None, make(), DATA, VERSIONS) == Finished(2)


@pytest.mark.parametrize("outcome", [SweepOutcome.INTERRUPTED, SweepOutcome.FAILED, None])
def test_a_sweep_that_did_not_end_by_itself_goes_on(make: Any, outcome: Any) -> None:
    record = recorded(make(), *[DONE] * 4, outcome=outcome)
    assert isinstance(decide_start(record, None, make(), DATA, VERSIONS), Resume)


@pytest.mark.parametrize(
    "fields",
    [
        {"search": {"num_trials": 9}},
        {"group": {"num_workers": 4, "grace_s": 3}},
        {"tracking": {"mlflow_uri": "http://mlflow:5000"}},
        {"storage": "/mnt/results"},
    ],
)
def test_what_changes_no_trial_may_change(make: Any, fields: Any) -> None:
    found = changes(recorded(make()), make(**fields), DATA, VERSIONS)
    assert found
    assert all(change.is_free for change in found)


def test_what_changes_a_result_is_refused_with_one_line_for_each_field(make: Any) -> None:
    other = make(
        training={"epochs": 1},
        search={"parameters": {**SPACE, "adapter.rank": {"values": [4, 16]}}, "num_trials": 8},
    )
    with pytest.raises(InputError) as caught:
        decide_start(
            recorded(make(), RUNNING),
            None,
            other,
            {"boolq/train": "b" * 64, "piqa/train": "c"},
            {**VERSIONS, "torch": "2.14.0"},
        )
    assert str(caught.value).splitlines() == [
        "training.epochs: was 3, now 1",
        "search.parameters.adapter.rank.values: was [4, 8], now [4, 16]",
        f'data.boolq/train: was "{"a" * 56}..., now "{"b" * 56}...',
        'data.piqa/train: was not set, now "c"',
        'versions.torch: was "2.13.0", now "2.14.0"',
        "s: must be as when s was started; to change it, start a new sweep from its results with "
        "--fork NEWNAME, or from nothing with another --name",
    ]


def test_a_sweep_whose_first_trial_never_began_goes_on_with_another_file(make: Any) -> None:
    other = make(training={"micro_batch_size": 1}, seed=7)
    start = decide_start(recorded(make()), None, other, DATA, VERSIONS)
    assert isinstance(start, Resume)
    assert [change.field for change in start.changes] == ["training.micro_batch_size", "seed"]
    with pytest.raises(InputError, match="seed: was 42, now 7"):
        decide_start(recorded(make(), RUNNING), None, other, DATA, VERSIONS)
    with pytest.raises(InputError, match=r"versions\.torch"):
        decide_start(recorded(make()), None, other, DATA, VERSIONS | {"torch": "9"})


def test_the_quantizer_counts_only_where_it_is_used(make: Any) -> None:
    with_quantizer = {**VERSIONS, "bitsandbytes": "0.49"}
    assert changes(recorded(make()), make(), DATA, with_quantizer) == []
    quantized = make(model={"quantization": "4bit"})
    [change] = changes(recorded(quantized), quantized, DATA, with_quantizer)
    assert change.field == "versions.bitsandbytes"


def test_a_field_that_came_later_has_its_default(make: Any) -> None:
    record = recorded(make())
    older = {key: value for key, value in record.spec.items() if key != "evaluation"}
    assert changes(replace(record, spec=older), make(), DATA, VERSIONS) == []


def test_a_spec_of_another_version_that_means_nothing_here_is_refused(make: Any) -> None:
    record = recorded(make())
    record = replace(record, spec={**record.spec, "oracle": True})
    with pytest.raises(SweepError, match=r"s: was started by droplora-sweep 0\.1\.0, whose spec"):
        changes(record, make(), DATA, VERSIONS)


def test_a_torn_line_is_told(make: Any) -> None:
    [_, line] = start_lines(Resume(0, 0, ()), "events.jsonl:5: must end in ...")
    assert line == (
        "cut off a torn line, of an event that had not happened: events.jsonl:5: must end in ..."
    )
