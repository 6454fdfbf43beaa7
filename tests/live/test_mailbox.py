"""A driver is asked for something through its sweep's folder, and answers."""

from __future__ import annotations

import threading
import time

import pytest

from droplora_sweep.errors import SweepError
from droplora_sweep.ledger.requests import Answer, Ask, Mailbox, ask_driver
from droplora_sweep.ledger.writer import LedgerWriter

TRIAL = "t0000-00000001"


def answering(mailbox, answer):
    """A driver that answers the first request, on a thread of its own; what it was asked."""
    taken = []

    def serve():
        while not taken:
            taken.extend(mailbox.take())
        mailbox.answer(taken[0], answer)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    return taken, thread


@pytest.fixture
def mailbox(driver):
    return Mailbox(driver.ledger.directory, driver.ledger.holder.token)


def test_who_asks_hears_what_the_driver_did(driver, mailbox):
    taken, thread = answering(mailbox, Answer(True, "pinned"))
    assert ask_driver(driver.ledger.storage, "demo", Ask.PIN, TRIAL) == "pinned"
    thread.join()
    [request] = taken
    assert (request.ask, request.trial_id) == (Ask.PIN, TRIAL)
    assert "@" in request.by
    # Nothing is left of it.
    assert list((driver.ledger.directory / "requests").iterdir()) == []


def test_a_clone_comes_with_its_spec(driver, mailbox):
    taken, _ = answering(mailbox, Answer(True, "queued"))
    spec = {"seed": 7}
    ask_driver(driver.ledger.storage, "demo", Ask.CLONE, TRIAL, spec=spec, from_adapter=True)
    assert (taken[0].spec, taken[0].from_adapter) == (spec, True)


def test_a_refusal_is_an_error(driver, mailbox):
    answering(mailbox, Answer(False, f"{TRIAL}: must be running, got complete"))
    with pytest.raises(SweepError, match=r"t0000-00000001: must be running, got complete"):
        ask_driver(driver.ledger.storage, "demo", Ask.STOP_TRIAL, TRIAL)


def test_what_no_driver_takes_is_withdrawn(driver, mailbox):
    with pytest.raises(SweepError, match=r"demo: its driver \(.*\) has not answered; nothing was"):
        ask_driver(driver.ledger.storage, "demo", Ask.PIN, TRIAL, wait_s=0.1)
    assert mailbox.take() == []


def test_what_a_driver_took_and_did_not_answer_is_told(driver, mailbox):
    def take():
        while not mailbox.take():
            time.sleep(0.01)

    taker = threading.Thread(target=take, daemon=True)
    taker.start()
    with pytest.raises(SweepError, match="its driver took the request and died, or hangs"):
        ask_driver(driver.ledger.storage, "demo", Ask.PIN, TRIAL, wait_s=0.5)
    taker.join()


def test_no_later_driver_acts_on_a_request(driver, mailbox):
    ledger = driver.ledger

    def ask():
        with pytest.raises(SweepError, match="has not answered"):
            ask_driver(ledger.storage, "demo", Ask.PIN, TRIAL, wait_s=0.5)

    thread = threading.Thread(target=ask)
    thread.start()
    while not list(ledger.directory.glob("requests/*.request")):
        pass
    ledger.close()
    later = LedgerWriter.resume(ledger.storage, driver.sweep)
    assert Mailbox(later.directory, later.holder.token).take() == []
    later.close()
    thread.join()


def test_a_sweep_without_a_driver_cannot_be_asked(driver):
    driver.ledger.close()
    with pytest.raises(SweepError) as caught:
        ask_driver(driver.ledger.storage, "demo", Ask.PIN, TRIAL)
    assert str(caught.value) == (
        "name: must be a running sweep, got demo, which has no driver; "
        "`droplora-sweep resume demo` starts one"
    )
