"""A failed trial gets another go: which one may, how it is recorded, and what the search hears."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import optuna
import pytest
from optuna.trial import TrialState as OptunaState
from ray.tune.search import Searcher

from droplora_sweep.errors import InputError
from droplora_sweep.groups.leases import LeaseBook
from droplora_sweep.ledger.log import read_events
from droplora_sweep.ledger.reader import Ledger
from droplora_sweep.ledger.writer import LedgerWriter
from droplora_sweep.records.events import EventKind
from droplora_sweep.records.layout import EVENTS
from droplora_sweep.records.messages import Failed, Submission, submission_of, tune_result
from droplora_sweep.records.trial import TrialState
from droplora_sweep.run.confirming import confirmation_of
from droplora_sweep.run.retrying import find_retries, mark_retries, refusal_to_retry
from droplora_sweep.run.runs import queue_of
from droplora_sweep.run.starting import Finished, Resume, decide_start
from droplora_sweep.search.history import search_history
from droplora_sweep.search.searcher import StudySearcher
from droplora_sweep.search.study import reconciled_study
from tests.ledgers import IDENTITY, KINDS, SEARCHED, Driver, make_sweep
from tests.recording import evaluated, result
from tests.replaying import prefixes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BY = "ann@host"
ADAPTER = {"adapter_config.json": b"{}"}


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[Driver]:
    made = Driver(tmp_path, make_sweep("s", search=SEARCHED), ADAPTER)
    yield made
    made.ledger.close()


def fail(driver: Driver, rate: float, rank: int = 4, reason: str | None = "out of memory") -> str:
    name = driver.start(rate, **{"adapter.rank": rank})
    return driver.finish(name, TrialState.FAILED, reason)


def searcher_of(ledger: LedgerWriter, study: optuna.Study, num_trials: int) -> StudySearcher:
    """The search of a driver that starts now."""
    search = {**SEARCHED, "num_trials": num_trials, "queue_baselines": False}
    sweep = make_sweep("s", search=search)
    history = search_history(ledger.record, "val/mean")
    return StudySearcher(
        sweep=sweep,
        study=reconciled_study(study, history.trials, sweep),
        identify=IDENTITY,
        room=lambda: 1,
        trials_folder="trials",
        known=history,
    )


def test_a_retried_trial_is_the_same_trial_from_its_first_step(driver: Driver) -> None:
    name = driver.start(0.2)
    driver.report(name, 1, of=2)
    driver.ledger.trial_adjusted(name, {"training.micro_batch_size": 2}, "out of memory")
    driver.ledger.trial_stop_asked(name, BY)
    before = driver.ledger.trial(name)
    driver.finish(name, TrialState.FAILED, "lost its group 3 times")
    driver.ledger.trial_retried(name, BY)
    trial = driver.ledger.trial(name)
    assert trial.is_to_be_retried
    assert (trial.trial_id, trial.number, trial.fingerprint) == (
        before.trial_id,
        before.number,
        before.fingerprint,
    )
    assert (trial.state, trial.reason) == ("RUNNING", None)
    assert (trial.evaluations, trial.metrics) == ((), {})
    assert (trial.adjusted, trial.stop_asked_by) == ({}, None)
    [failure] = trial.failures
    assert (failure.reason, failure.step, failure.by) == ("lost its group 3 times", 10, BY)
    assert (failure.started, failure.attempts) == (before.started, 1)
    driver.restart(name)
    trial = driver.ledger.trial(name)
    assert not trial.is_to_be_retried
    assert (trial.attempts, trial.started, len(trial.spans)) == (2, trial.starts[1], 2)
    driver.report(name)
    driver.finish(name)
    assert Ledger.open(driver.ledger.storage, "s").trial(name) == driver.ledger.trial(name)
    assert driver.ledger.trial(name).failures == trial.failures


def test_only_what_has_failed_can_be_retried(driver: Driver) -> None:
    complete, running = driver.run(0.0), driver.start(0.2)
    record = driver.ledger.record
    for name, state in ((complete, "complete"), (running, "running")):
        trial = driver.ledger.trial(name)
        assert refusal_to_retry(trial, record) == f"must have failed, got {name}, {state}"
    with pytest.raises(AssertionError, match=f"{complete} is COMPLETE, not retried"):
        driver.ledger.trial_retried(complete, BY)
    with pytest.raises(InputError) as caught:
        find_retries(driver.ledger, ["t0000", running])
    assert str(caught.value) == (
        f"TRIAL: must have failed, got {complete}, complete\n"
        f"TRIAL: must have failed, got {running}, running"
    )


def test_all_that_failed_are_meant_where_none_is_named(driver: Driver) -> None:
    assert find_retries(driver.ledger, ()).trials == ()
    first, _, second = fail(driver, 0.2), driver.run(0.0), fail(driver, 0.4)
    assert find_retries(driver.ledger, ()).trials == (first, second)
    assert find_retries(driver.ledger, ["t0002", second]).trials == (second,)


def test_a_confirmation_fixes_the_search_and_its_own_failed_runs_get_another_go(
    tmp_path: Path,
) -> None:
    sweep = make_sweep("s", confirm={"rates": 1, "seeds": 3, "margin": 0.0})
    driver = Driver(tmp_path, sweep, ADAPTER)
    lost = fail(driver, 0.4)
    driver.run(0.2)
    driver.run(0.0)
    driver.confirm(lambda arm, seed: seed == 44)
    found = find_retries(driver.ledger, ())
    runs = [trial for trial in driver.ledger.confirm_records() if trial.state == "FAILED"]
    assert found.trials == tuple(trial.trial_id for trial in runs)
    [refused] = found.refused
    assert f"got {lost} of the search" in refused
    assert "`droplora-sweep resume s --fork NEWNAME`" in refused
    before = confirmation_of(driver.ledger.record, driver.ledger)
    assert before is not None
    assert before.progress.missing == ()
    list(mark_retries(driver.ledger, found.trials, BY))
    after = confirmation_of(driver.ledger.record, driver.ledger)
    assert after is not None
    queue = queue_of(after, driver.ledger, IDENTITY)
    assert [run.trial_id for run in queue] == list(found.trials)
    for trial_id in found.trials:
        driver.restart(trial_id)
        driver.report(trial_id)
        driver.finish(trial_id)
    driver.confirm()
    driver.test()
    for trial in runs:
        gone = replace(driver.ledger.trial(trial.trial_id), state=TrialState.FAILED)
        refusal = refusal_to_retry(gone, driver.ledger.record)
        assert refusal is not None
        assert "nothing is decided anew after that" in refusal
    driver.end()


def test_a_member_of_a_population_is_not_retried(tmp_path: Path) -> None:
    KINDS["population"](tmp_path, ADAPTER)
    record = Ledger.open(tmp_path, "population").record
    failed = replace(record.trials[0], state=TrialState.FAILED)
    refusal = refusal_to_retry(failed, record)
    assert refusal is not None
    assert refusal.startswith(f"must not be a member of a population, got {failed.trial_id}")


def test_a_complete_sweep_is_resumed_for_a_retry(driver: Driver) -> None:
    fail(driver, 0.2)
    driver.end()
    record = Ledger.open(driver.ledger.storage, "s").record
    given = (record, None, driver.sweep, record.data_digests, IDENTITY.versions)
    assert decide_start(*given) == Finished(1)
    assert decide_start(*given, num_retries=1) == Resume(0, 1, ())


def test_checkpoints_of_the_failed_attempt_are_removed(driver: Driver) -> None:
    name = fail(driver, 0.2)
    left = driver.ledger.directory / "trials" / name / "checkpoints" / "step-00000004"
    left.mkdir(parents=True)
    assert list(mark_retries(driver.ledger, [name], BY)) == [
        f"{name} is retried; it had failed: out of memory"
    ]
    assert not left.exists()


def test_the_study_has_a_retried_trial_under_its_number_with_its_last_end(driver: Driver) -> None:
    name, other = fail(driver, 0.2), driver.run(0.0)
    study = optuna.create_study(direction="maximize")
    searcher = searcher_of(driver.ledger, study, 2)
    assert [trial.state.name for trial in searcher._study.trials] == ["FAIL", "COMPLETE"]
    assert searcher.suggest("a") == Searcher.FINISHED
    list(mark_retries(driver.ledger, [name], BY))
    searcher = searcher_of(driver.ledger, searcher._study, 2)
    submission = submission_of(searcher.suggest("a"))
    assert (submission.trial_id, submission.last) == (name, None)
    searcher.on_trial_complete("a", result(0.7))
    first, second = searcher._study.trials
    assert (first.state, first.value) == (OptunaState.COMPLETE, 0.7)
    assert first.params == {"adapter.pruning_rate": 0.2, "adapter.rank": 4}
    assert second.value == driver.ledger.trial(other).metrics["val/mean"]
    assert searcher.suggest("b") == Searcher.FINISHED


def test_a_running_search_takes_a_retry_up_next_and_counts_the_trial_once(driver: Driver) -> None:
    study = optuna.create_study(direction="maximize")
    searcher = searcher_of(driver.ledger, study, 2)
    submission = submission_of(searcher.suggest("a"))
    planned = searcher.planned("a")
    driver.ledger.trial_started(planned)
    searcher.on_trial_complete("a", tune_result(Failed("out of memory")))
    driver.ledger.trial_finished(planned.trial_id, TrialState.FAILED, reason="out of memory")
    driver.ledger.trial_retried(planned.trial_id, BY)
    searcher.retry(driver.ledger.trial(planned.trial_id))
    assert searcher.is_known(planned.fingerprint)
    again = submission_of(searcher.suggest("b"))
    assert again == submission
    driver.restart(planned.trial_id)
    searcher.on_trial_complete("b", result(0.6))
    evaluation = evaluated(1, 10, {"val/mean": 0.6}, num_evaluations=1)
    driver.ledger.trial_reported(planned.trial_id, evaluation)
    driver.ledger.trial_finished(planned.trial_id, TrialState.COMPLETE)
    # The sampler learns from it at once, and one planned trial is left.
    assert [trial.state.name for trial in study.trials] == ["FAIL", "COMPLETE"]
    last = submission_of(searcher.suggest("c"))
    assert last.trial_id != planned.trial_id
    searcher.on_trial_complete("c", result(0.5))
    assert searcher.suggest("d") == Searcher.FINISHED
    # At the search's end, as at the next driver's start, the study is the ledger's.
    history = search_history(driver.ledger.record, "val/mean")
    after = reconciled_study(study, history.trials, driver.sweep)
    assert after.trials[planned.number].state is OptunaState.COMPLETE
    assert after.trials[planned.number].params == planned.drawn


def test_the_pool_takes_a_failed_trial_anew() -> None:
    book = LeaseBook(max_attempts=1)
    book.enter("g0")
    book.submit(Submission(trial_id="a", spec="{}"))
    book.lease("g0")
    book.fail("g0", "no space is left")
    assert book.receive("a") == Failed("no space is left")
    book.submit(Submission(trial_id="a", spec="{}"))
    assert book.lease("g0") is None, "a client that comes again finds the failure"
    book.retry("a")
    book.submit(Submission(trial_id="a", spec="{}"))
    lease = book.lease("g0")
    assert lease is not None
    assert (lease.trial_id, lease.attempt) == ("a", 1)
    assert book.receive("a") is None
    with pytest.raises(AssertionError, match="a has not ended"):
        book.retry("a")


def test_a_driver_that_dies_between_mark_and_run_loses_nothing_and_doubles_nothing(
    tmp_path: Path,
) -> None:
    storage = tmp_path / "results"
    KINDS["retried"](storage, ADAPTER)
    events = read_events(storage / "retried" / EVENTS).events
    marks = [event for event in events if event.kind is EventKind.TRIAL_RETRIED]
    assert len(marks) == 4
    for number, copy in prefixes(storage, "retried", tmp_path):
        known = Ledger.open(copy, "retried").record
        was = {trial.trial_id: trial for trial in known.trials}
        ledger = LedgerWriter.resume(copy, make_sweep("retried"), versions=IDENTITY.versions)
        history = search_history(ledger.record, "val/mean")
        running = [trial.trial_id for trial in history.unfinished]
        marked = [event.trial_id for event in marks if event.seq < number]
        for trial in ledger.records():
            assert len(trial.failures) == marked.count(trial.trial_id)
            assert trial == was[trial.trial_id]
            # One is either as it ended, or runs once more under its number.
            assert (trial.trial_id in running) == (
                not trial.is_finished and trial.trial_id.startswith("t")
            )
            assert history.ended.keys().isdisjoint(each.fingerprint for each in history.unfinished)
        ledger.close()


def test_the_command_says_why_it_does_nothing(call: Any, tmp_path: Path) -> None:
    KINDS["confirmed"](tmp_path, ADAPTER)
    KINDS["searched"](tmp_path / "other", ADAPTER)
    code, _, complaints = call("retry", "nowhere", "--storage", tmp_path)
    assert code == 1
    assert complaints.startswith("name: must be a sweep in ")
    code, _, complaints = call("retry", "confirmed", "t0099", "--storage", tmp_path)
    assert code == 1
    assert complaints.startswith("trial: must be one of confirmed's, got t0099; ")
    code, printed, complaints = call("retry", "confirmed", "--storage", tmp_path)
    assert (code, complaints) == (0, "")
    first, *_, last = printed.splitlines()
    assert first.startswith("not retried: must be of a sweep whose winners are not scored on the ")
    assert last == "confirmed: has no failed trial to retry; nothing to do"
    code, _, complaints = call("retry", "searched", "t0001", "--storage", tmp_path / "other")
    assert code == 2
    assert complaints.startswith("TRIAL: must have failed, got t0001-")
    assert complaints.count("\n") == 1


def test_status_tells_how_a_trial_failed_before(call: Any, tmp_path: Path) -> None:
    KINDS["retried"](tmp_path, ADAPTER)
    code, printed, _ = call("status", "retried", "--storage", tmp_path)
    text = " ".join(printed.replace("│", " ").split())
    assert code == 0
    assert "complete (retried)" in text
    assert text.count("failed before:") == 4
