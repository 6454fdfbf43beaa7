"""Events of a sweep and how each is one checksummed line of text."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


class EventKind(StrEnum):
    SWEEP_STARTED = "sweep_started"
    SWEEP_RESUMED = "sweep_resumed"
    TRIAL_STARTED = "trial_started"
    TRIAL_REPORTED = "trial_reported"
    TRIAL_ADJUSTED = "trial_adjusted"
    TRIAL_EXPLOITED = "trial_turned"
    """An exploit step of a member of a population; ledgers call it a turn."""
    TRIAL_FINISHED = "trial_finished"
    TRIAL_TESTED = "trial_tested"
    TRIAL_STOP_ASKED = "trial_stop_asked"
    TRIAL_PINNED = "trial_pinned"
    TRIAL_CLONED = "trial_cloned"
    TRIAL_RETRIED = "trial_retried"
    REFERENCE_SCORED = "reference_scored"
    SWEEP_FINISHED = "sweep_finished"


@dataclass(frozen=True, kw_only=True)
class Event:
    """An event of a sweep.

    Attributes:
        seq: Position in the log, from 0 without gaps, so that a lost line is noticed.
        time: Time of writing, UTC.
        kind: Kind of event.
        payload: JSON values; floats that JSON has no word for are the texts nan, inf and -inf.
    """

    seq: int
    time: datetime
    kind: EventKind
    payload: Mapping[str, Any]

    @property
    def trial_id(self) -> str | None:
        """Id of the trial that it is about; None for an event of the whole sweep."""
        return self.payload.get("trial_id")


class DamagedLineError(ValueError):
    """A line was changed after it was written."""


class UnknownEventError(ValueError):
    """A line is intact, and of a kind that this version does not know."""


def encode(event: Event) -> bytes:
    """Return the event as one line of JSON that ends in a newline.

    Its last field, ``checksum``, is the first 16 hex digits of the sha256 over the bytes of the
    object without that field.
    """
    fields = {
        "seq": event.seq,
        "time": event.time.isoformat(timespec="milliseconds"),
        "kind": event.kind.value,
        "payload": event.payload,
    }
    body = json.dumps(fields, separators=(",", ":"), allow_nan=False).encode()
    return body[:-1] + _checksum_field(body) + b"\n"


def decode(line: bytes) -> Event:
    """Return the event that ``encode`` made a line of.

    Raises:
        DamagedLineError: The line is not as it was written.
        UnknownEventError: A newer version wrote it.
    """
    line = line.rstrip(b"\n")
    length = len(_checksum_field(b""))
    body, found = line[:-length] + b"}", line[-length:]
    expected = _checksum_field(body)
    if found != expected:
        raise DamagedLineError(
            f"must end in {expected.decode()}, got {found.decode(errors='replace')}"
        )
    fields = json.loads(body)
    if fields["kind"] not in list(EventKind):
        raise UnknownEventError(
            f"kind must be one of {', '.join(EventKind)}, got {fields['kind']}; "
            "a newer droplora-sweep wrote it"
        )
    time = datetime.fromisoformat(fields["time"])
    return Event(
        seq=fields["seq"], time=time, kind=EventKind(fields["kind"]), payload=fields["payload"]
    )


def json_metrics(metrics: Mapping[str, float]) -> dict[str, float | str]:
    """Return metrics as JSON values: NaN and infinities become text, which ``float`` reads back."""
    return {
        name: float(value) if math.isfinite(value) else str(float(value))
        for name, value in metrics.items()
    }


def _checksum_field(body: bytes) -> bytes:
    return b',"checksum":"%s"}' % hashlib.sha256(body).hexdigest()[:16].encode()
