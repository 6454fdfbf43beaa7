import json
import math
from datetime import UTC, datetime

import pytest

from droplora_sweep.records.events import (
    DamagedLineError,
    Event,
    EventKind,
    UnknownEventError,
    decode,
    encode,
    json_metrics,
)

EVENT = Event(
    seq=3,
    time=datetime(2026, 2, 3, 4, 5, 6, 789000, tzinfo=UTC),
    kind=EventKind.TRIAL_REPORTED,
    payload={
        "trial_id": "t0001-00000001",
        "metrics": {"val/mean": 0.1 + 0.2},
        "reason": "größer\n2",
    },
)


def test_a_line_gives_back_its_event():
    line = encode(EVENT)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert decode(line) == EVENT


def test_a_line_is_plain_json_with_its_time_in_utc():
    fields = json.loads(encode(EVENT))
    assert fields["seq"] == 3
    assert fields["time"] == "2026-02-03T04:05:06.789+00:00"
    assert fields["kind"] == "trial_reported"


def test_every_changed_byte_is_noticed():
    line = encode(EVENT).rstrip()
    for position in range(len(line)):
        damaged = bytearray(line)
        damaged[position] ^= 1
        with pytest.raises(DamagedLineError):
            decode(bytes(damaged))


def test_every_cut_is_noticed():
    line = encode(EVENT).rstrip()
    for length in range(len(line)):
        with pytest.raises(DamagedLineError):
            decode(line[:length])


def test_an_event_of_a_newer_version_is_told_from_damage():
    class NewerKind:
        value = "trial_dreamt"

    with pytest.raises(
        UnknownEventError, match=r"kind must be one of .*, got trial_dreamt; a newer"
    ):
        decode(encode(Event(seq=0, time=EVENT.time, kind=NewerKind, payload={})))


def test_metrics_that_json_has_no_word_for_come_back():
    text = json.dumps(json_metrics({"a": math.nan, "b": math.inf, "c": -math.inf, "d": 1}))
    found = {name: float(value) for name, value in json.loads(text).items()}
    assert math.isnan(found.pop("a"))
    assert found == {"b": math.inf, "c": -math.inf, "d": 1.0}


def test_what_ledgers_call_events_outlives_what_code_calls_them() -> None:
    """A ledger of years ago has these names; one that changes cannot be read any more."""
    assert {str(kind) for kind in EventKind} == {
        *("sweep_started", "sweep_resumed", "sweep_finished", "reference_scored"),
        *("trial_started", "trial_reported", "trial_adjusted", "trial_turned", "trial_finished"),
        *("trial_tested", "trial_stop_asked", "trial_pinned", "trial_cloned", "trial_retried"),
    }
