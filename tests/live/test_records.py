"""A user's requests to a running sweep are in its ledger, and outlive its driver."""

from __future__ import annotations

import pytest

from droplora_sweep.ledger.reader import Ledger
from droplora_sweep.ledger.requests import Ask
from droplora_sweep.ledger.writer import LedgerWriter
from droplora_sweep.records.trial import QueuedClone, TrialState
from droplora_sweep.run.control import refusal_of
from droplora_sweep.search.history import search_history
from droplora_sweep.spec import AdapterStart, fingerprint
from tests.recording import evaluated, planned

BY = "ada@host"


def clone_of(trial, *, drawn=None, start=None):
    return QueuedClone(
        trial_id="t0001-0000abcd",
        number=1,
        fingerprint="0000abcd" + "0" * 56,
        spec=trial.spec,
        params={"adapter.pruning_rate": 0.5},
        drawn=drawn or {},
        clone_of=trial.trial_id,
        start=start,
        by=BY,
    )


def start_clone(ledger, sweep, clone):
    ledger.trial_started(
        planned(
            clone.trial_id,
            clone.number,
            clone.fingerprint,
            sweep.trial,
            clone.params,
            clone.drawn,
            clone_of=clone.clone_of,
            start=clone.start,
        )
    )


def test_who_stopped_and_who_pinned_a_trial_is_kept(driver):
    name = driver.start(0)
    assert driver.ledger.trial_pinned(name, BY)
    assert driver.ledger.trial_stop_asked(name, BY)
    trial = Ledger.open(driver.ledger.storage, "demo").trial(name)
    assert (trial.pinned_by, trial.stop_asked_by) == (BY, BY)


def test_what_has_ended_cannot_be_stopped_or_pinned(driver):
    name = driver.run(0)
    assert not driver.ledger.trial_stop_asked(name, BY)
    assert not driver.ledger.trial_pinned(name, BY)
    trial = driver.ledger.trial(name)
    assert trial.stop_asked_by is None
    assert refusal_of(Ask.PIN, trial) == f"{name}: must be running, got complete"


def test_a_request_is_not_made_twice(driver):
    name = driver.start(0)
    driver.ledger.trial_pinned(name, BY)
    pinned = driver.ledger.trial(name)
    assert refusal_of(Ask.PIN, pinned) == f"{name}: is pinned already, by {BY}"
    assert refusal_of(Ask.STOP_TRIAL, pinned) is None
    driver.ledger.trial_stop_asked(name, BY)
    stopped = driver.ledger.trial(name)
    assert refusal_of(Ask.STOP_TRIAL, stopped) == f"{name}: is being stopped, as {BY} asked"


def test_a_queued_clone_is_run_by_the_next_driver(driver):
    parent = driver.ledger.trial(driver.run(0))
    clone = clone_of(parent)
    driver.ledger.trial_cloned(clone)
    driver.ledger.close()
    later = LedgerWriter.resume(driver.ledger.storage, driver.sweep)
    assert later.record.queued_clones == (clone,)
    known = search_history(later.record, "val/mean")
    assert [each.trial_id for each in known.clones] == [clone.trial_id]
    assert known.clones[0].params == clone.params
    # The study has it running until then.
    assert known.trials[1].state is TrialState.RUNNING
    start_clone(later, driver.sweep, clone)
    assert later.record.queued_clones == ()
    trial = later.trial(clone.trial_id)
    assert (trial.clone_of, trial.params) == (parent.trial_id, clone.params)
    # Clones come on top of the planned trials.
    later.trial_reported(clone.trial_id, evaluated(1, 5, {"val/mean": 0.5}, num_evaluations=1))
    later.trial_finished(clone.trial_id, TrialState.COMPLETE)
    assert search_history(later.record, "val/mean").cloned == {clone.fingerprint}
    later.close()


@pytest.mark.parametrize(
    ("drawn", "start", "is_comparable"),
    [
        ({"adapter.pruning_rate": 0.5}, None, True),
        ({}, None, False),
        ({}, AdapterStart("t0000-00000001", "ab" * 32), False),
    ],
)
def test_statistics_see_the_clones_that_the_search_could_have_drawn(
    driver, drawn, start, is_comparable
):
    parent = driver.ledger.trial(driver.run(0))
    clone = clone_of(parent, drawn=drawn, start=start)
    driver.ledger.trial_cloned(clone)
    start_clone(driver.ledger, driver.sweep, clone)
    driver.report(clone.trial_id, 1)
    driver.finish(clone.trial_id)
    seen = [trial.trial_id for trial in driver.ledger.search_records()]
    assert seen == [parent.trial_id, *([clone.trial_id] if is_comparable else [])]
    # What the sampler must not learn from has failed, as far as it knows.
    state = search_history(driver.ledger.record, "val/mean").trials[1].state
    assert state == ("COMPLETE" if is_comparable else "FAILED")


def test_from_an_adapter_it_is_another_trial(driver):
    spec = driver.sweep.trial
    start = AdapterStart("t0000-00000001", "ab" * 32)
    fresh = fingerprint(spec, {}, {}, num_workers=1)
    warm = fingerprint(spec, {}, {}, num_workers=1, start=start)
    other = AdapterStart(start.trial_id, "cd" * 32)
    assert len({fresh, warm, fingerprint(spec, {}, {}, num_workers=1, start=other)}) == 3
    assert fingerprint(spec, {}, {}, num_workers=1, start=None) == fresh
