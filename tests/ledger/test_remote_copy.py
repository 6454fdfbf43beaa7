"""A sweep whose storage is a URL: what counts is in the object store, and it is enough."""

from __future__ import annotations

import shutil
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from droplora_sweep.errors import SweepError
from droplora_sweep.ledger.files import verify_adapter
from droplora_sweep.ledger.lease import DriverLease
from droplora_sweep.ledger.reader import Ledger
from droplora_sweep.ledger.remote_copy import RemoteCopy
from droplora_sweep.ledger.writer import LedgerWriter
from droplora_sweep.records.events import Event, EventKind, encode
from droplora_sweep.records.trial import SweepOutcome, TrialState, trial_id
from droplora_sweep.spec import SweepSpec
from droplora_sweep.storage.mirror import Mirror, local_storage, mirror_of
from droplora_sweep.storage.object_store import ObjectStore
from tests.recording import planned

if TYPE_CHECKING:
    from pathlib import Path

SPEC = SweepSpec(name="demo")
FILES = {"adapter_model.safetensors": b"weights", "adapter_config.json": b"{}"}


def start(ledger: LedgerWriter, number: int) -> str:
    fingerprint = f"{number + 1:064x}"[::-1]
    name = trial_id(number, fingerprint)
    ledger.trial_started(planned(name, number, fingerprint, SPEC.trial, {"adapter.rank": 8}))
    return name


def test_a_fresh_machine_goes_on_from_the_url_alone(
    url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    first = local_storage(url)
    ledger = LedgerWriter.create(first, SPEC)
    finished, running = start(ledger, 0), start(ledger, 1)
    ledger.trial_finished(finished, TrialState.COMPLETE, adapter_files=FILES)
    events = (first / "demo" / "events.jsonl").read_bytes()

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "machine-2"))
    second = local_storage(url)
    with pytest.raises(
        SweepError, match=r"demo: must have one driver, and is already running on .+, pid \d+, "
    ):
        LedgerWriter.resume(second, SPEC)
    holder = Ledger.open(second, "demo").holder
    assert holder is not None
    assert holder.token == ledger.holder.token
    ledger.close()
    assert Ledger.open(second, "demo").holder is None
    shutil.rmtree(first)

    assert Ledger.open(second, "demo").record.trials[0].trial_id == finished
    assert (second / "demo" / "events.jsonl").read_bytes() == events
    resumed = LedgerWriter.resume(second, SPEC)
    record = resumed.trial(finished)
    assert record.adapter is not None
    verify_adapter(record.adapter, record.adapter_digest)
    assert not resumed.trial(running).is_finished
    resumed.trial_finished(running, TrialState.FAILED, reason="at http://ann:tulip@host")
    (second / "demo" / "driver.log").write_text("noise")
    resumed.sweep_finished(SweepOutcome.COMPLETE, summary={"README.md": "p = 0.2"})
    resumed.close()

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "machine-3"))
    third = local_storage(url)
    mirror = mirror_of(third)
    assert mirror is not None
    assert mirror.names() == ["demo"]
    last = Ledger.open(third, "demo")
    assert last.record.outcome is SweepOutcome.COMPLETE
    assert last.trial(running).reason == "at http://ann:[redacted]@host"
    assert (third / "demo" / "summary" / "README.md").read_text() == "p = 0.2"
    assert (third / "demo" / "driver.log").read_text() == "noise"


def test_a_store_that_is_away_is_waited_for_and_then_named(tmp_path: Path) -> None:
    share = tmp_path / "share"
    share.mkdir()
    root = tmp_path / "mirror"
    (root / "demo").mkdir(parents=True)
    lease = DriverLease.take(root / "demo" / "driver.lease")
    mirror = Mirror(root, ObjectStore(share.as_uri()))
    copy = RemoteCopy(mirror, "demo", lease.holder, patience_s=0.5)
    event = Event(
        seq=0, time=datetime(2026, 1, 1, tzinfo=UTC), kind=EventKind.SWEEP_FINISHED, payload={}
    )

    # Where a folder should be, this keeps events from being written.
    obstacle = share / "demo" / "events"
    obstacle.touch()
    with pytest.raises(SweepError, match=f"^{share.as_uri()}/demo/events/00000000: cannot write: "):
        copy.add(event)
    back = threading.Timer(0.3, obstacle.unlink)
    back.start()
    copy.add(event)
    back.join()
    assert (obstacle / "00000000").read_bytes() == encode(event)
    copy.close()
    lease.release()
