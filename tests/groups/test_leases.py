"""The lease book: who trains what, and what happens when a group or a trial dies."""

import pytest

from droplora_sweep.errors import Fault, SweepError
from droplora_sweep.groups.leases import LeaseBook
from droplora_sweep.groups.messages import Beginning, Delivery, ExitReason, Merging, Scoring
from droplora_sweep.records.messages import Decision, Evaluated, Failed, Submission
from droplora_sweep.records.trial import Evaluation
from droplora_sweep.spec import TrainingSpec, TrialSpec
from droplora_sweep.storage.file_set import FileFacts, FileSet

FILES = FileSet("/results/adapter", {"weights.safetensors": FileFacts(7, "digest")})
UNTRAINED = Scoring(split="validation")


def make_book(max_attempts=2, trials=("a",), groups=("g0",)):
    book = LeaseBook(max_attempts)
    for trial in trials:
        book.submit(submission(trial))
    for group in groups:
        book.enter(group)
    return book


def submission(trial="a", spec=None, last=None, **more):
    return Submission(trial_id=trial, spec=spec or f"spec of {trial}", last=last, **more)


def evaluation(number, score=0.5):
    return Evaluation(
        number=number, num_evaluations=3, step=10 * number, metrics={"val/mean": score}
    )


def received(number):
    return Evaluated(evaluation(number))


def test_trials_are_leased_in_the_order_of_submission():
    book = make_book(trials=("a", "b"), groups=("g0", "g1", "g2"))
    assert book.lease("g0").trial_id == "a"
    assert book.lease("g1").trial_id == "b"
    assert book.lease("g2") is None


def test_a_group_waits_at_each_report_for_the_decision():
    book = make_book()
    book.lease("g0")
    book.report("g0", evaluation(1), ())
    assert book.decision("g0", 1) is None
    assert book.receive("a") == received(1)
    book.go_on("a", 1)
    assert book.decision("g0", 1) is Decision.GO_ON


def test_an_ended_trial_stops_at_its_report_and_still_leaves_its_adapter():
    book = make_book()
    book.lease("g0")
    book.report("g0", evaluation(1), ("result",))
    book.end("a")
    assert book.decision("g0", 1) is Decision.END
    assert book.outcome("a") is None
    book.finish("g0", FILES)
    outcome = book.outcome("a")
    assert outcome == Delivery(FILES, ("result",))


def test_an_outcome_is_held_once_and_then_only_its_verdict():
    book = make_book()
    book.lease("g0")
    book.finish("g0", FILES)
    assert book.outcome("a").files
    assert not book.outcome("a").files


def test_a_lost_trial_goes_to_the_next_group_before_new_trials():
    book = make_book(trials=("a", "b"), groups=("g0", "g1"))
    assert book.lease("g0").attempt == 1
    book.lose("g0")
    lease = book.lease("g1")
    assert (lease.trial_id, lease.attempt) == ("a", 2)


def test_a_repeated_trial_delivers_no_report_twice_and_keeps_its_decisions():
    book = make_book()
    book.lease("g0")
    book.report("g0", evaluation(1), ())
    assert book.receive("a") == received(1)
    book.go_on("a", 1)
    book.enter("g0")
    assert book.lease("g0").attempt == 2
    book.report("g0", evaluation(1), ())
    assert book.receive("a") is None
    assert book.decision("g0", 1) is Decision.GO_ON
    book.report("g0", evaluation(2), ())
    assert book.receive("a") == received(2)


def test_a_trials_next_client_receives_what_the_one_before_it_died_with():
    book = make_book()
    book.lease("g0")
    book.report("g0", evaluation(1), ())
    assert book.receive("a") == received(1)
    book.submit(submission())
    assert book.receive("a") == received(1), "nobody has decided on it"
    book.go_on("a", 1)
    book.submit(submission())
    assert book.receive("a") is None
    book.report("g0", evaluation(2), ())
    assert book.receive("a") == received(2)
    assert book.decision("g0", 1) is Decision.GO_ON
    assert book.lease("g1") is None, "the trial is trained once"


def test_a_resumed_trial_delivers_only_what_the_ledger_lacks_and_waits_where_it_was_left():
    book = make_book(trials=())
    book.submit(submission(last=evaluation(2), folder="trials/a"))
    assert book.lease("g0").folder == "trials/a"
    for number in (1, 2):
        book.report("g0", evaluation(number), ())
    repeated = Evaluated(evaluation(2), is_repeated=True)
    assert book.receive("a") == repeated, "the scheduler decides on it here"
    assert [book.decision("g0", number) for number in (1, 2)] == [Decision.GO_ON, None]
    book.go_on("a", 2)
    assert book.decision("g0", 2) is Decision.GO_ON
    book.report("g0", evaluation(3), ())
    assert book.receive("a") == received(3)


def test_a_trial_that_keeps_killing_groups_fails_with_the_last_words():
    book = make_book(max_attempts=2)
    for _ in range(2):
        book.lease("g0")
        book.crash("g0", ExitReason("RuntimeError: out of memory"))
        book.enter("g0")
    message = book.receive("a")
    assert message == Failed("lost its group 2 times; the last time: RuntimeError: out of memory")
    assert book.outcome("a") == message
    assert book.lease("g0") is None


def test_a_failed_trial_frees_its_group_for_the_next():
    book = make_book(trials=("a", "b"))
    book.lease("g0")
    book.fail("g0", "loss is nan at step 3")
    assert book.receive("a") == Failed("loss is nan at step 3")
    assert book.lease("g0").trial_id == "b"


def test_a_trial_ended_in_the_queue_is_never_leased():
    book = make_book()
    book.end("a")
    assert book.lease("g0") is None
    assert book.outcome("a") == Failed("ended before it was started")


def test_closing_interrupts_a_waiting_group_and_its_trial_has_no_outcome():
    book = make_book()
    book.lease("g0")
    book.report("g0", evaluation(1), ())
    book.closed = True
    assert book.decision("g0", 1) is Decision.INTERRUPT
    book.give_back("g0")
    assert book.outcome("a") is None


def test_a_decision_that_was_made_holds_while_the_sweep_closes():
    book = make_book()
    book.lease("g0")
    book.report("g0", evaluation(1), ())
    book.end("a")
    book.closed = True
    assert book.decision("g0", 1) is Decision.END


def test_a_trial_that_was_given_back_goes_first_and_has_lost_no_attempt():
    book = make_book(max_attempts=1, trials=("a", "b"), groups=("g0", "g1"))
    assert book.lease("g0").trial_id == "a"
    book.give_back("g0")
    lease = book.lease("g1")
    assert (lease.trial_id, lease.attempt) == ("a", 1)
    assert book.lease("g0").trial_id == "b"


def test_a_group_that_never_gets_to_train_ends_the_sweep_with_its_reason():
    book = make_book(groups=())
    for _ in range(3):
        book.enter("g0")
        book.crash("g0", ExitReason("OSError: no model.safetensors"))
        book.check()
    book.enter("g0")
    with pytest.raises(SweepError, match=r"g0 died 3 times before .*no model.safetensors"):
        book.check()


def test_progress_is_forgotten_when_the_trial_is_over():
    book = make_book()
    book.lease("g0")
    book.step("g0", 5, 20)
    assert book.progress() == {"a": (5, 20)}
    book.finish("g0", None)
    book.step("g0", 6, 20)
    assert book.progress() == {}


def test_a_trial_taken_up_from_an_earlier_driver_is_trained_to_where_it_was_ended():
    book = LeaseBook(max_attempts=2)
    book.submit(submission(last=evaluation(2)))
    book.end("a")
    book.enter("g0")
    assert book.lease("g0").trial_id == "a"
    assert book.decision("g0", 1) is Decision.GO_ON
    book.report("g0", evaluation(2), ("result",))
    assert book.receive("a") == Evaluated(evaluation(2), is_repeated=True)
    assert book.decision("g0", 2) is Decision.END
    book.finish("g0", FILES)
    assert book.outcome("a").files == FILES


def test_files_that_cannot_be_stored_end_the_sweep_and_leave_the_trial_to_be_resumed():
    book = make_book(groups=("g0", "g1"))
    book.lease("g0")
    book.refuse("g0", "/results: cannot write: No space left on device")
    with pytest.raises(SweepError, match="/results: cannot write: No space left"):
        book.check()
    assert book.lease("g1") is None
    assert book.outcome("a") is None
    assert book.receive("a") is None


def out_of_memory(reason="torch.OutOfMemoryError: CUDA out of memory"):
    return ExitReason(reason, out_of_memory=True, log="rank 1:\nlast line")


def spec_of(micro_batch_size):
    training = TrainingSpec(micro_batch_size=micro_batch_size, global_batch_size=8)
    return TrialSpec(training=training).model_dump_json()


def micro_batch_size(lease):
    return TrialSpec.model_validate_json(lease.spec).training.micro_batch_size


def test_a_trial_that_ran_out_of_memory_fails_at_once_with_reason_and_log():
    book = make_book(max_attempts=3, trials=("a", "b"))
    book.lease("g0")
    book.crash("g0", out_of_memory())
    book.enter("g0")
    outcome = book.outcome("a")
    assert outcome == Failed(
        "ran out of memory: torch.OutOfMemoryError: CUDA out of memory", "rank 1:\nlast line"
    )
    assert book.receive("a") == outcome
    assert book.lease("g0").trial_id == "b"
    assert book.take_adjustments() == []


def test_want_of_memory_is_the_reason_whoever_speaks_first():
    book = make_book(max_attempts=3)
    book.lease("g0")
    book.crash("g0", ExitReason("RuntimeError: Connection closed by peer", log="rank 0:\nclosed"))
    book.crash("g0", out_of_memory("the kernel ended a process"))
    book.crash("g0", ExitReason("RuntimeError: Connection reset"))
    book.enter("g0")
    assert book.outcome("a").reason == "ran out of memory: the kernel ended a process"


def test_a_trial_may_be_tried_again_with_half_the_micro_batch_down_to_one():
    book = LeaseBook(max_attempts=1, halve_micro_batch=True)
    book.submit(submission("a", spec_of(5)))
    book.submit(submission("b", spec_of(5)))
    book.enter("g0")
    sizes = []
    while (lease := book.lease("g0")).trial_id == "a":
        sizes.append(micro_batch_size(lease))
        assert TrialSpec.model_validate_json(lease.spec).training.global_batch_size == 8
        assert lease.attempt == 1
        book.crash("g0", out_of_memory())
        book.enter("g0")
    assert sizes == [5, 2, 1]
    adjustments = book.take_adjustments()
    assert [(each.trial_id, each.micro_batch_size) for each in adjustments] == [("a", 2), ("a", 1)]
    assert {each.reason for each in adjustments} == {
        "ran out of memory: torch.OutOfMemoryError: CUDA out of memory"
    }
    assert book.take_adjustments() == []
    assert book.outcome("a").reason.startswith("ran out of memory: ")
    assert micro_batch_size(lease) == 5


def test_the_first_to_die_says_why_and_the_log_has_all():
    book = make_book(max_attempts=1)
    book.lease("g0")
    book.crash("g0", ExitReason("ValueError: first", log="rank 1:\nfirst"))
    book.crash("g0", ExitReason("RuntimeError: closed by peer", log="rank 0:\nclosed"))
    book.enter("g0")
    outcome = book.outcome("a")
    assert outcome.reason == "lost its group 1 time; the last time: ValueError: first"
    assert outcome.log == "rank 1:\nfirst\nrank 0:\nclosed"


def test_words_about_processes_that_are_gone_are_not_those_of_the_next():
    book = make_book(max_attempts=2)
    book.lease("g0")
    book.crash("g0", ExitReason("no progress for 400 s"))
    book.lose("g0")
    assert book.lease("g1").attempt == 2
    book.enter("g0")
    book.enter("g1")
    assert book.outcome("a").reason == "lost its group 2 times; the last time: its processes died"


def test_a_lost_controller_gives_its_trial_back():
    book = make_book()
    book.lease("g0")
    book.crash("g0", ExitReason("its Ray Train controller died: its node has died"))
    book.lose_controller("g0")
    assert book.progress() == {}
    book.enter("g0")
    again = book.lease("g0")
    assert (again.trial_id, again.attempt) == ("a", 2)
    book.check()


@pytest.mark.parametrize("enters", [True, False])
def test_a_group_whose_controller_dies_at_every_start_ends_the_sweep(enters):
    book = LeaseBook(2)
    for start in range(4):
        if enters:
            book.enter("g0")
        book.crash("g0", ExitReason("its Ray Train controller died: it was killed"))
        if start < 3:
            book.check()
        book.lose_controller("g0")
    if enters:
        book.enter("g0")
    with pytest.raises(SweepError, match=r"group g0 died 3 times before it could train: its Ray "):
        book.check()


def test_where_a_trial_begins_is_told_once_and_is_its_progress():
    book = make_book()
    book.lease("g0")
    book.begin("g0", 120, 300)
    assert book.progress() == {"a": (120, 300)}
    assert book.take_beginnings() == [Beginning(trial_id="a", attempt=1, step=120, num_steps=300)]
    assert book.take_beginnings() == []


def test_the_untrained_model_is_scored_when_no_trial_waits():
    book = make_book(trials=("a",), groups=("g0", "g1"))
    book.submit_scoring("untrained/validation", "spec", UNTRAINED)
    assert book.lease("g0").work is None
    lease = book.lease("g1")
    assert (lease.trial_id, lease.spec) == ("untrained/validation", "spec")
    assert lease.work == UNTRAINED
    book.scored("g1", ("result",), {})
    assert book.outcome("untrained/validation").results == ("result",)


def test_the_untrained_model_is_asked_for_once():
    book = make_book(trials=(), groups=("g0", "g1"))
    book.submit_scoring("untrained/validation", "spec", UNTRAINED)
    book.submit_scoring("untrained/validation", "spec", UNTRAINED)
    assert book.lease("g0") is not None
    assert book.lease("g1") is None


def test_what_was_scored_is_not_kept():
    book = make_book(trials=(), groups=("g0",))
    winner = Scoring(split="test", benchmarks=("math",), files=FILES)
    book.submit_scoring("test/a", "spec", winner)
    assert book.lease("g0").work == winner
    book.scored("g0", ("result",), {})
    assert book.outcome("test/a").results == ("result",)
    assert FILES.folder not in str(vars(book))


def test_a_group_lost_with_the_untrained_model_is_followed_by_another():
    book = make_book(trials=(), groups=("g0", "g1"))
    book.submit_scoring("untrained/validation", "spec", UNTRAINED)
    book.lease("g0")
    book.lose("g0")
    lease = book.lease("g1")
    assert (lease.attempt, lease.work) == (2, UNTRAINED)
    book.lose("g1")
    assert "lost its group 2 times" in book.outcome("untrained/validation").reason


def test_without_memory_for_the_untrained_model_no_trial_is_changed():
    book = LeaseBook(2, halve_micro_batch=True)
    book.enter("g0")
    book.submit_scoring("untrained/validation", TrialSpec().model_dump_json(), UNTRAINED)
    book.lease("g0")
    book.crash("g0", ExitReason("out of memory on rank 0", out_of_memory=True))
    book.lose("g0")
    assert book.take_adjustments() == []
    failure = book.outcome("untrained/validation").reason
    assert failure == "ran out of memory: out of memory on rank 0"


FAULT = Fault("", "task.data", "must exist")


def test_the_canary_comes_first_and_leaves_nothing():
    book = make_book(trials=("a",), groups=("g0", "g1"))
    book.submit_canary("canary", "spec", "folder")
    lease = book.lease("g0")
    assert (lease.trial_id, lease.is_canary) == ("canary", True)
    assert not book.lease("g1").is_canary
    book.passed("g0")
    assert book.outcome("canary") == Delivery(None, ())


def test_a_canary_fails_as_soon_as_its_worker_says_why():
    book = make_book(trials=(), groups=())
    book.submit_canary("canary", "spec", "folder")
    book.lease("g0")
    book.crash("g0", ExitReason("no room", out_of_memory=True, log="rank 1", is_raised=True))
    failed = Failed("ran out of memory: no room", "rank 1", out_of_memory=True)
    assert book.outcome("canary") == failed
    # What follows from it changes nothing.
    book.crash("g0", ExitReason("Connection closed by peer", is_raised=True))
    book.enter("g0")
    assert book.lease("g0") is None
    assert book.outcome("canary") == failed


def test_faults_of_any_group_fail_a_canary_that_waits():
    book = make_book(trials=(), groups=())
    book.submit_canary("canary", "spec", "folder")
    book.crash("g1", ExitReason("a bug", is_raised=True))
    assert book.outcome("canary") is None, "another group may do better"
    book.crash("g1", ExitReason(str(FAULT), faults=(FAULT,), is_raised=True))
    assert book.outcome("canary").faults == (FAULT,)
    assert book.lease("g0") is None


def test_a_canary_that_lost_its_node_is_tried_again_and_one_that_the_kernel_killed_is_not():
    book = make_book(trials=(), groups=())
    book.submit_canary("canary", "spec", "folder")
    book.lease("g0")
    book.lose("g0")
    assert book.lease("g1").attempt == 2
    book.crash("g1", ExitReason("the kernel ended a process", out_of_memory=True))
    assert book.outcome("canary") is None
    book.enter("g1")
    assert book.outcome("canary").out_of_memory


def test_a_lone_group_scores_and_merges_one_after_the_other():
    book = make_book(trials=(), groups=("g0",))
    book.submit_alone("work-0", "spec", UNTRAINED)
    assert book.lease("g0").work == UNTRAINED
    book.scored("g0", ("result",), {"perplexity/before": 7.0})
    assert book.outcome("work-0") == Delivery(None, ("result",), {"perplexity/before": 7.0})
    book.submit_alone("work-1", "spec", Merging(FILES))
    assert book.lease("g0").work == Merging(FILES)
    book.finish("g0", FILES)
    assert book.outcome("work-1") == Delivery(FILES, ())


@pytest.mark.parametrize("is_leased", [True, False])
def test_work_of_a_lone_group_fails_with_the_faults_that_a_worker_finds(is_leased):
    book = make_book(trials=(), groups=())
    book.submit_alone("work-0", "spec", UNTRAINED)
    if is_leased:
        book.lease("g0")
    assert book.crash("g0", ExitReason(str(FAULT), faults=(FAULT,), is_raised=True))
    assert book.outcome("work-0").faults == (FAULT,)


def test_work_of_a_lone_group_that_lost_its_node_is_done_again():
    book = make_book(trials=(), groups=())
    book.submit_alone("work-0", "spec", UNTRAINED)
    book.lease("g0")
    book.lose("g0")
    assert book.lease("g0").attempt == 2


def test_after_the_canary_a_group_that_fails_is_started_again():
    book = make_book(trials=("a",), groups=())
    book.submit_canary("canary", "spec", "folder")
    book.lease("g0")
    book.passed("g0")
    book.crash("g1", ExitReason(str(FAULT), faults=(FAULT,), is_raised=True))
    book.check()
    assert book.outcome("canary") == Delivery(None, ())
