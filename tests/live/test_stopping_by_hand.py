"""A trial that a user wants stopped ends at once, wherever it is, and leaves what it has."""

from __future__ import annotations

import pytest

from droplora_sweep.groups.leases import LeaseBook
from droplora_sweep.groups.messages import Delivery, ExitReason
from droplora_sweep.records.messages import Decision, Evaluated, Stopped, Submission
from droplora_sweep.records.trial import Evaluation
from droplora_sweep.storage.file_set import FileFacts, FileSet

SUBMISSION = Submission(trial_id="t", spec="spec")
FILES = FileSet("/results/adapter", {"weights.safetensors": FileFacts(7, "digest")})
EVALUATION = Evaluation(number=1, num_evaluations=2, step=5, metrics={"val/mean": 0.5})


@pytest.fixture
def book():
    book = LeaseBook(max_attempts=3)
    book.submit(SUBMISSION)
    return book


def leased(book):
    book.enter("g")
    assert book.lease("g") is not None
    return book


def test_one_that_waits_for_a_group_ends_without_one(book):
    book.stop("t")
    book.enter("g")
    assert book.lease("g") is None
    assert book.receive("t") == Stopped(None)
    assert book.outcome("t") == Delivery(None, ())


def test_one_that_is_not_here_yet_ends_when_it_comes():
    book = LeaseBook(max_attempts=3)
    book.stop("t")
    book.submit(SUBMISSION)
    assert book.receive("t") == Stopped(None)


def test_one_that_trains_hears_of_it_at_its_next_step_and_keeps_its_results(book):
    leased(book)
    book.report("g", EVALUATION, ("result",))
    book.go_on("t", 1)
    assert book.step("g", 6, 10) is None
    book.stop("t")
    assert book.step("g", 7, 10) is Decision.END
    book.finish("g", None)
    assert book.receive("t") == Stopped(EVALUATION)
    assert book.outcome("t").results == ("result",)
    assert book.lease("g") is None


def test_one_that_waits_at_an_evaluation_leaves_its_adapter(book):
    leased(book)
    book.report("g", EVALUATION, ())
    book.stop("t")
    assert book.decision("g", 1) is Decision.END
    book.finish("g", FILES)
    # The report comes first: the scheduler and the ledger are to have it.
    assert book.receive("t") == Evaluated(EVALUATION)
    book.go_on("t", 1)
    assert book.receive("t") == Stopped(EVALUATION)
    assert book.outcome("t").files == FILES


def test_one_whose_group_dies_is_not_tried_again(book):
    leased(book)
    book.stop("t")
    book.crash("g", ExitReason())
    book.lose("g")
    assert book.receive("t") == Stopped(None)
    book.enter("g")
    assert book.lease("g") is None


def test_one_that_a_group_gives_back_is_not_tried_again(book):
    leased(book)
    book.stop("t")
    book.give_back("g")
    assert book.receive("t") == Stopped(None)
    assert book.lease("g") is None


def test_one_that_has_ended_stays_as_it_is(book):
    leased(book)
    book.report("g", EVALUATION, ())
    book.end("t")
    book.finish("g", FILES)
    book.stop("t")
    assert book.receive("t") == Evaluated(EVALUATION)
    assert book.outcome("t").files == FILES


def test_a_lease_brings_the_adapter_to_start_from():
    book = LeaseBook(max_attempts=3)
    book.start_from("t", FILES)
    book.submit(SUBMISSION)
    book.enter("g")
    assert book.lease("g").start == FILES
