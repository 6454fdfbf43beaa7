"""A new sweep that starts from another one's results."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest

from droplora_sweep.ledger.files import verify_adapter
from droplora_sweep.ledger.reader import Ledger
from droplora_sweep.ledger.writer import LedgerWriter
from droplora_sweep.records.trial import TrialState, trial_id
from droplora_sweep.run.forking import past_of, take_over
from droplora_sweep.search.history import search_history
from droplora_sweep.spec import SweepSpec, TrialSpec, fingerprint, resolve
from tests.recording import evaluated, planned

if TYPE_CHECKING:
    from pathlib import Path

RATE = "adapter.pruning_rate"
FILES = {"adapter_model.safetensors": b"weights", "adapter_config.json": b"{}"}


@dataclass(frozen=True)
class Answer:
    benchmark: str = "boolq"
    example_id: str = "e0"
    response: str = "true"
    prediction: str | None = "true"
    gold: str = "true"
    correct: bool = True
    num_tokens: int = 1
    log_probability: float | None = None
    protocol: str = "paper"
    score: float | None = 1.0
    rating: float | None = None
    sample: int = 0
    turn: int = 0
    prompt_digest: str | None = None
    note: str | None = None
    reference_log_probability: float | None = -1.5
    reference_bytes: int | None = 4


def make_sweep(name: str, highest: float = 0.8, **fields: Any) -> SweepSpec:
    space = {RATE: {"min": 0.0, "max": highest, "step": 0.2}}
    search = {"parameters": space, **fields.pop("search", {})}
    return SweepSpec.model_validate({"name": name, "search": search, **fields})


def identify(number: int, spec: TrialSpec) -> tuple[str, str]:
    digest = fingerprint(spec, {}, {}, num_workers=2)
    return trial_id(number, digest), digest


@pytest.fixture
def first(tmp_path: Path) -> Ledger:
    """Rates 0.2 complete, 0.8 complete, 0.4 stopped, 0.6 failed, 0 running."""
    sweep = make_sweep("first")
    ledger = LedgerWriter.create(tmp_path, sweep)
    endings = [
        (0.2, TrialState.COMPLETE),
        (0.8, TrialState.COMPLETE),
        (0.4, TrialState.STOPPED),
        (0.6, TrialState.FAILED),
        (0.0, TrialState.RUNNING),
    ]
    for number, (rate, state) in enumerate(endings):
        drawn = {RATE: rate}
        spec = resolve(drawn, sweep)
        name, digest = identify(number, spec)
        ledger.trial_started(planned(name, number, digest, spec, drawn))
        ledger.trial_reported(name, evaluated(1, 10, {"val/mean": rate / 2}, num_evaluations=2))
        if state is not TrialState.RUNNING:
            files = None if state is TrialState.FAILED else FILES
            ledger.trial_finished(name, state, adapter_files=files, results=[Answer()])
    ledger.close()
    return Ledger.open(tmp_path, "first")


def rates_and_takeovers(first: Ledger, sweep: SweepSpec) -> dict[float, bool]:
    past = past_of(first.record, sweep, identify)
    assert [each.number for each in past] == list(range(len(past)))
    return {float(each.drawn[RATE]): each.taken_over is not None for each in past}


def test_a_fork_knows_the_finished_trials_that_lie_in_its_space(first: Ledger) -> None:
    assert rates_and_takeovers(first, make_sweep("second")) == {0.2: True, 0.8: True, 0.4: True}
    narrower = make_sweep("second", highest=0.4)
    assert rates_and_takeovers(first, narrower) == {0.2: True, 0.4: True}
    searched_otherwise = make_sweep(
        "second", search={"parameters": {"adapter.rank": {"values": [4]}}}
    )
    assert rates_and_takeovers(first, searched_otherwise) == {}


def test_a_trial_that_is_another_one_in_the_fork_only_informs_it(first: Ledger) -> None:
    longer = make_sweep("second", training={"epochs": 1})
    assert rates_and_takeovers(first, longer) == {0.2: False, 0.8: False, 0.4: False}


def test_a_trial_stopped_by_another_rule_is_not_final(first: Ledger) -> None:
    other_rule = make_sweep("second", search={"stopping": {"kind": "none"}})
    assert rates_and_takeovers(first, other_rule) == {0.2: True, 0.8: True, 0.4: False}


@pytest.fixture
def second(first: Ledger) -> LedgerWriter:
    sweep = make_sweep("second")
    ledger = LedgerWriter.create(first.storage, sweep, past=past_of(first.record, sweep, identify))
    yield ledger
    ledger.close()


def test_what_is_taken_over_is_copied_whole_and_tells_where_it_is_from(
    first: Ledger, second: LedgerWriter
) -> None:
    assert take_over(second) == []
    for copy in second.records():
        assert copy.origin is not None
        origin = first.trial(copy.origin.removeprefix("first/"))
        assert (copy.state, copy.fingerprint) == (origin.state, origin.fingerprint)
        assert (copy.metrics, copy.spec) == (origin.metrics, origin.spec)
        verify_adapter(copy.adapter, copy.adapter_digest)
        assert (copy.adapter / "adapter_model.safetensors").read_bytes() == b"weights"
        assert f"# {copy.trial_id} of the sweep second" in (copy.adapter / "README.md").read_text()
        assert second.scores(copy.trial_id) == {"boolq": {"e0": 1.0}}
    known = search_history(second.record, "val/mean")
    assert len(known.ended) == 3
    assert known.unfinished == ()


def test_taking_over_goes_on_where_a_driver_died(second: LedgerWriter) -> None:
    past = second.record.past[0]
    spec = resolve(dict(past.drawn), make_sweep("second"))
    digest = identify(0, spec)[1]
    second.trial_started(planned(past.taken_over, 0, digest, spec, past.drawn), origin=past.origin)
    assert take_over(second) == []
    assert [trial.is_finished for trial in second.records()] == [True] * 3
    before = second.records()
    assert take_over(second) == []
    assert second.records() == before


def test_a_damaged_adapter_is_not_taken_over_and_that_is_said(
    first: Ledger, second: LedgerWriter
) -> None:
    trial = first.records()[0]
    (trial.adapter / "adapter_model.safetensors").write_bytes(b"other")
    [line] = take_over(second)
    assert line.startswith(f"first/{trial.trial_id} is not taken over: ")
    assert "sha256 must be" in line
    assert len(second.records()) == 2
    assert 0 in search_history(second.record, "val/mean").trials, "it still informs the sampler"


def test_what_a_fork_knows_survives_its_driver(second: LedgerWriter) -> None:
    read = Ledger.open(second.storage, "second")
    assert read.record.past == second.record.past
    assert read.record.past[0] == replace(second.record.past[0])
