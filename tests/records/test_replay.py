import math
from pathlib import Path

import pytest

from droplora_sweep.records.events import EventKind, decode, encode
from droplora_sweep.records.replay import replay
from droplora_sweep.records.trial import SweepOutcome, TrialState

ROOT = Path("/results/demo")


@pytest.fixture
def full_history(history):
    history.start_sweep()
    history.start(0)
    history.start(1)
    history.report(0, 1, **{"val/mean": 0.25})
    history.report(1, 1, **{"val/mean": 0.5})
    history.report(0, 2, **{"val/mean": 0.75, "train/loss": "nan"})
    history.finish(1, "STOPPED", "behind at rung 1")
    history.start(2)
    history.finish(0, **{"seconds": 3.5})
    history.add(EventKind.SWEEP_FINISHED, outcome="INTERRUPTED", reason="SIGTERM")
    return history


def test_a_history_tells_of_every_trial(full_history):
    sweep = replay(full_history.events, ROOT)
    assert sweep.name == "demo"
    assert sweep.outcome is SweepOutcome.INTERRUPTED
    assert sweep.reason == "SIGTERM"
    complete, stopped, running = sweep.trials
    assert complete.state is TrialState.COMPLETE
    assert [(each.number, each.step) for each in complete.evaluations] == [(1, 10), (2, 20)]
    assert complete.metrics["val/mean"] == 0.75
    assert complete.metrics["seconds"] == 3.5
    assert math.isnan(complete.metrics["train/loss"])
    assert complete.adapter == ROOT / "trials" / "t0000-00000001" / "adapter"
    assert complete.results is None
    assert (complete.finished - complete.started).total_seconds() == 7
    assert (stopped.state, stopped.reason) == (TrialState.STOPPED, "behind at rung 1")
    assert running.state is TrialState.RUNNING
    assert running.finished is None


def test_every_prefix_is_a_sweep_that_was_cut_off_there(full_history):
    known = set()
    for length in range(1, len(full_history.events) + 1):
        sweep = replay(full_history.events[:length], ROOT)
        ids = {trial.trial_id for trial in sweep.trials}
        assert known <= ids
        known = ids
        finished = [trial for trial in sweep.trials if trial.is_finished]
        assert all(trial.finished is not None and trial.adapter_digest for trial in finished)


def test_folding_what_was_written_gives_what_was_meant(full_history):
    lines = [encode(event) for event in full_history.events]
    assert str(replay(map(decode, lines), ROOT)) == str(replay(full_history.events, ROOT))


def test_a_trial_taken_up_again_repeats_its_later_evaluations(history):
    history.start_sweep()
    history.start(0)
    for evaluation in (1, 2, 3):
        history.report(0, evaluation, score=float(evaluation))
    history.start(0)
    history.report(0, 2, score=20.0)
    [trial] = replay(history.events, ROOT).trials
    assert trial.attempts == 2
    assert [report.metrics["score"] for report in trial.evaluations] == [1.0, 20.0]
    assert trial.metrics == {"score": 20.0}


@pytest.mark.parametrize("again", ["start", "finish"])
def test_a_finished_trial_is_never_done_again(history, again):
    history.start_sweep()
    history.start(0)
    history.finish(0)
    getattr(history, again)(0)
    with pytest.raises(AssertionError, match="finished trial t0000-00000001"):
        replay(history.events, ROOT)


def test_what_was_not_started_cannot_report(history):
    history.start_sweep()
    history.report(4, 1)
    with pytest.raises(AssertionError, match="unknown trial t0004-00000005"):
        replay(history.events, ROOT)


def test_an_adjusted_trial_keeps_what_was_asked_for_beside_what_it_went_on_with(history):
    history.start_sweep()
    history.start(0)
    before = replay(history.events, ROOT).trials[0]
    for size in (16, 8):
        history.add(
            EventKind.TRIAL_ADJUSTED,
            trial_id=before.trial_id,
            settings={"training.micro_batch_size": size},
            reason="ran out of memory",
        )
    after = replay(history.events, ROOT).trials[0]
    assert after.adjusted == {"training.micro_batch_size": 8}
    assert (after.spec, after.fingerprint) == (before.spec, before.fingerprint)
    assert after.state is TrialState.RUNNING
