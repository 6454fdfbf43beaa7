"""A driver is asked to stop through its sweep's folder."""

from __future__ import annotations

import pytest

from droplora_sweep.errors import SweepError
from droplora_sweep.ledger.requests import is_stop_requested, request_stop
from droplora_sweep.ledger.writer import LedgerWriter


def test_a_request_is_for_the_driver_that_holds_the_sweep_now(driver):
    ledger = driver.ledger
    assert not is_stop_requested(ledger.directory, ledger.holder)
    assert request_stop(ledger.storage, "demo") == ledger.holder
    assert is_stop_requested(ledger.directory, ledger.holder)
    ledger.close()
    later = LedgerWriter.resume(ledger.storage, driver.sweep)
    assert not is_stop_requested(later.directory, later.holder)
    later.close()


def test_a_sweep_that_no_driver_holds_cannot_be_stopped(driver):
    driver.ledger.close()
    with pytest.raises(SweepError) as caught:
        request_stop(driver.ledger.storage, "demo")
    assert str(caught.value) == "name: must be a running sweep, got demo, which has no driver"


def test_an_unknown_sweep_cannot_be_stopped(tmp_path):
    with pytest.raises(SweepError, match=r"must be a sweep in .*, got 'demo'; it has none"):
        request_stop(tmp_path, "demo")
