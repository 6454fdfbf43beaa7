import re
import resource

import pytest

from droplora_sweep.errors import SweepError
from droplora_sweep.ledger.log import EventLog, read_events
from droplora_sweep.records.events import EventKind


@pytest.fixture
def path(tmp_path):
    return tmp_path / "events.jsonl"


@pytest.fixture
def log(path):
    log = EventLog.create(path)
    yield log
    log.close()


def write(log, *numbers):
    events = [
        log.next_event(EventKind.TRIAL_REPORTED, {"number": number}) for number in numbers[:1]
    ]
    log.append(events[0])
    return events + (write(log, *numbers[1:]) if numbers[1:] else [])


def test_what_was_appended_is_read(log, path):
    events = write(log, 1, 2, 3)
    assert read_events(path).events == tuple(events)
    assert read_events(path).torn is None
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_log_is_never_begun_twice(log, path):
    with pytest.raises(FileExistsError):
        EventLog.create(path)


def test_a_torn_last_line_is_left_out_and_told(log, path):
    events = write(log, 1, 2, 3)
    whole = path.read_bytes()
    start_of_last = whole.rindex(b"\n", 0, -1) + 1
    for length in range(start_of_last + 1, len(whole) - 1):
        path.write_bytes(whole[:length])
        read = read_events(path)
        assert read.events == tuple(events[:2])
        assert read.torn.startswith(f"{path}:3: ")
    path.write_bytes(whole[:start_of_last])
    assert read_events(path).torn is None


def test_a_last_line_that_only_lacks_its_end_is_whole(log, path):
    events = write(log, 1, 2)
    path.write_bytes(path.read_bytes()[:-1])
    assert read_events(path).events == tuple(events)


def test_damage_in_the_middle_names_file_and_line(log, path):
    write(log, 1, 2, 3)
    path.write_bytes(path.read_bytes().replace(b'"number":2', b'"number":7'))
    with pytest.raises(SweepError, match=re.escape(f"{path}:2: must end in ")):
        read_events(path)


def test_a_lost_line_is_noticed(log, path):
    write(log, 1, 2, 3)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[2])
    with pytest.raises(SweepError, match=re.escape(f"{path}:2: seq must be 1, got 2")):
        read_events(path)


def test_a_full_disk_leaves_a_log_that_can_be_continued(log, path):
    write(log, 1)
    before = path.read_bytes()
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    # A limit within the next line: the file system takes a part of it.
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 20, hard))
    try:
        with pytest.raises(SweepError, match=re.escape(f"{path}: cannot write: File too large")):
            write(log, 2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    assert path.read_bytes() == before
    write(log, 3)
    assert [event.payload["number"] for event in read_events(path).events] == [1, 3]
