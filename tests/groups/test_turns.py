"""Turns of a population's members in the lease book: told once, and again to the next group."""

from droplora_sweep.groups.leases import LeaseBook
from droplora_sweep.groups.messages import Decision, Message
from droplora_sweep.spec import Turn

TURN = Turn(1, "t0001-00000001", {"adapter.pruning_rate": 0.4})


def make_book(*, is_member=True, delivered=0):
    book = LeaseBook(3)
    book.submit("a", "spec", delivered, is_member=is_member)
    book.enter("g")
    return book


def report(book, evaluation):
    message = Message(evaluation, 3, 10 * evaluation, {"val/mean": 0.5})
    book.report("g", message, ("result",))


def test_a_member_hears_of_its_turn_once_it_may_go_on():
    book = make_book()
    assert book.lease("g").turns == ()
    report(book, 1)
    book.turn("a", TURN)
    assert book.decision("g", 1) is None
    book.go_on("a", 1)
    assert book.decision("g", 1) == TURN
    report(book, 2)
    book.go_on("a", 2)
    assert book.decision("g", 2) is Decision.GO_ON


def test_the_next_group_is_leased_the_turns_that_were_taken():
    book = make_book()
    book.lease("g")
    report(book, 1)
    book.turn("a", TURN)
    book.go_on("a", 1)
    book.lose("g")
    assert book.lease("g").turns == (TURN,)
    assert book.decision("g", 1) == TURN


def test_a_new_driver_gives_turns_before_the_trial_is_submitted():
    book = LeaseBook(3)
    book.turn("a", TURN)
    book.submit("a", "spec", 2, is_member=True)
    book.enter("g")
    assert book.lease("g").turns == (TURN,)
    assert book.decision("g", 1) == TURN


def test_a_trial_that_is_no_member_has_no_turns():
    assert make_book(is_member=False).lease("g").turns is None


def test_a_member_that_somebody_stops_takes_no_turn():
    book = make_book()
    book.lease("g")
    report(book, 1)
    book.turn("a", TURN)
    book.stop("a")
    assert book.decision("g", 1) is Decision.END
