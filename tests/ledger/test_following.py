"""A ledger that is read on while it is written: the same records as when it is read anew."""

import random
import shutil
from dataclasses import fields

import pytest

from droplora_sweep.errors import SweepError
from droplora_sweep.ledger.following import URL_POLL_S, Follower
from droplora_sweep.ledger.log import LogReader, read_events
from droplora_sweep.ledger.reader import Ledger
from droplora_sweep.ledger.writer import LedgerWriter
from droplora_sweep.records.layout import EVENTS
from droplora_sweep.records.trial import SweepOutcome
from droplora_sweep.storage.mirror import local_storage
from tests.ledgers import KINDS

from .conftest import ADAPTER_FILES, Driver, make_sweep


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Sweeps in which trials fail, are stopped, pinned, cloned, retried, and copy each other."""
    storage = tmp_path_factory.mktemp("ledgers")
    for name in ("searched", "stopped_early", "retried", "population"):
        KINDS[name](storage, ADAPTER_FILES)
    return storage


@pytest.mark.parametrize("name", ["searched", "stopped_early", "retried", "population"])
@pytest.mark.parametrize("seed", [0])
def test_it_reads_what_a_fresh_reader_would_however_the_file_grows(written, tmp_path, name, seed):
    """The log grows by any number of bytes: whole lines, parts of one, several at once."""
    drawn = random.Random(seed)
    shutil.copytree(written / name, tmp_path / name)
    log = tmp_path / name / EVENTS
    whole = log.read_bytes()
    end = whole.index(b"\n") + 1
    log.write_bytes(whole[:end])
    follower = Follower(tmp_path, name)
    events = list(follower.look().new)
    while end < len(whole):
        end = min(len(whole), end + drawn.choice([7, 300, 3000, 9000]))
        log.write_bytes(whole[:end])
        look = follower.look()
        events += look.new
        fresh = Ledger.open(tmp_path, name)
        assert look.ledger.record == fresh.record
        assert (look.ledger.torn is None) == (fresh.torn is None)
        assert tuple(events) == read_events(log).events
    assert follower.look().new == ()


def test_a_look_stays_as_it_was(tmp_path):
    sweep = make_sweep()
    driver = Driver(LedgerWriter.create(tmp_path, sweep), sweep)
    name = driver.start(0)
    follower = Follower(tmp_path, "demo")
    before = follower.look()
    assert before.holder is not None
    assert before.takes_requests
    driver.report(name, 1)
    driver.finish(name)
    after = follower.look()
    assert [event.kind for event in after.new] == ["trial_reported", "trial_finished"]
    assert not before.ledger.trial(name).is_finished
    assert before.ledger.record.trials[0].evaluations == ()
    assert after.ledger.trial(name).is_finished
    driver.ledger.close()
    assert follower.look().holder is None


def test_a_line_that_lacks_only_its_end_is_taken_once(tmp_path):
    sweep = make_sweep()
    driver = Driver(LedgerWriter.create(tmp_path, sweep), sweep)
    driver.start(0)
    log = tmp_path / "demo" / EVENTS
    whole = log.read_bytes()
    log.write_bytes(whole[:-1])
    reader = LogReader(log)
    assert len(reader.read_on()) == 2
    assert reader.read_on() == ()
    log.write_bytes(whole)
    assert reader.read_on() == ()
    driver.start(1)
    assert len(reader.read_on()) == 1
    driver.ledger.close()


def test_a_log_that_is_another_one_is_read_anew(tmp_path):
    """As a mirror's is, once it is brought to what its URL holds."""
    sweep = make_sweep()
    driver = Driver(LedgerWriter.create(tmp_path, sweep), sweep)
    first = driver.start(0)
    log = tmp_path / "demo" / EVENTS
    until_then = log.read_bytes()
    driver.start(1)
    follower = Follower(tmp_path, "demo")
    assert len(follower.look().ledger.record.trials) == 2
    log.write_bytes(until_then)
    assert [trial.trial_id for trial in follower.look().ledger.record.trials] == [first]
    driver.ledger.close()


def test_damage_is_told_at_every_look_and_mended_by_the_next(tmp_path):
    sweep = make_sweep()
    driver = Driver(LedgerWriter.create(tmp_path, sweep), sweep)
    follower = Follower(tmp_path, "demo")
    follower.look()
    driver.start(0)
    driver.start(1)
    log = tmp_path / "demo" / EVENTS
    whole = log.read_bytes()
    log.write_bytes(whole.replace(b"trial_started", b"trial_startled", 1))
    for _ in range(2):
        with pytest.raises(SweepError, match=r"events\.jsonl:2: must end in"):
            follower.look()
    log.write_bytes(whole)
    assert len(follower.look().ledger.record.trials) == 2
    driver.ledger.close()


def test_a_sweep_that_is_not_there_is_named(tmp_path):
    with pytest.raises(SweepError, match=r"name: must be a sweep in .*, got 'demo'; it has none"):
        Follower(tmp_path, "demo")
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / EVENTS).touch()
    with pytest.raises(SweepError, match="the sweep was interrupted before it started"):
        Follower(tmp_path, "demo")


def test_a_sweep_in_an_object_store_is_followed_from_another_machine(url, monkeypatch, tmp_path):
    sweep = make_sweep()
    driver = Driver(LedgerWriter.create(local_storage(url), sweep), sweep)
    driver.finish(driver.start(0))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "machine-2"))
    follower = Follower(local_storage(url), "demo")
    assert follower.poll_s == URL_POLL_S
    look = follower.look()
    assert look.holder is not None
    assert not look.takes_requests, "its driver sees another folder"
    assert len(look.new) == 3
    name = driver.start(1)
    driver.report(name, 1)
    assert [event.kind for event in follower.look().new] == ["trial_started", "trial_reported"]
    driver.finish(name)
    driver.ledger.sweep_finished(SweepOutcome.COMPLETE)
    driver.ledger.close()
    last = follower.look()
    assert last.holder is None
    record, own = last.ledger.record, driver.ledger.record
    assert record.outcome is SweepOutcome.COMPLETE
    # The same in all but the folder that its files are in.
    assert {one.trial_id: one.metrics for one in record.trials} == {
        one.trial_id: one.metrics for one in own.trials
    }
    same = [one.name for one in fields(record) if one.name != "trials"]
    assert [getattr(record, one) for one in same] == [getattr(own, one) for one in same]
