"""A file system that takes no byte more: each writer names the path, and leaves nothing torn."""

from __future__ import annotations

import os
import resource
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from droplora_sweep.errors import SweepError
from droplora_sweep.ledger.lease import DriverLease
from droplora_sweep.ledger.reader import Ledger
from droplora_sweep.ledger.requests import request_stop
from droplora_sweep.mlflow_view.ui import ui_login
from droplora_sweep.records.trial import SweepOutcome, TrialState
from droplora_sweep.storage.mirror import Mirror, local_storage
from droplora_sweep.storage.object_store import ObjectStore, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.faults


@contextmanager
def no_room() -> Iterator[None]:
    """No file of this process can grow; what is refused has another number than on a full disk."""
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))


WRITERS: dict[str, tuple[Callable[[Any, str], object], str]] = {
    "start": (lambda driver, name: driver.start(1), r"trials/t0001-.+: cannot write"),
    "report": (lambda driver, name: driver.report(name, 1), r"events\.jsonl: cannot write"),
    "finish": (lambda driver, name: driver.finish(name), r"trials/.+: cannot write"),
    "failure": (
        lambda driver, name: driver.finish(name, TrialState.FAILED, "ill"),
        r"(trials/.+|events\.jsonl): cannot write",
    ),
    "summary": (
        lambda driver, name: driver.ledger.sweep_finished(
            SweepOutcome.COMPLETE, summary={"README.md": "p = 0.2"}
        ),
        r"summary.*: cannot write",
    ),
    "stop": (
        lambda driver, name: request_stop(driver.ledger.storage, "demo"),
        r"demo.*: cannot write",
    ),
}


@pytest.mark.parametrize("writer", WRITERS)
def test_a_writer_names_the_path_and_the_trial_goes_on_when_there_is_room(
    driver: Any, writer: str
) -> None:
    name = driver.start(0)
    write, message = WRITERS[writer]
    before = (driver.ledger.directory / "events.jsonl").read_bytes()
    with no_room(), pytest.raises(SweepError, match=rf"{message}: File too large$"):
        write(driver, name)
    assert (driver.ledger.directory / "events.jsonl").read_bytes() == before
    assert list(driver.ledger.directory.rglob(".*.tmp-*")) == []
    driver.run(0)
    assert Ledger.open(driver.ledger.storage, "demo").trial(name).state is TrialState.COMPLETE


def test_a_lease_that_cannot_be_written_is_not_taken(tmp_path: Path) -> None:
    path = tmp_path / "driver.lease"
    with no_room(), pytest.raises(SweepError, match=rf"^{path}: cannot write: File too large$"):
        DriverLease.take(path)
    DriverLease.take(path).release()


def test_a_lease_whose_folder_is_gone_is_named(tmp_path: Path) -> None:
    path = tmp_path / "driver.lease"
    lease = DriverLease.take(path)
    path.unlink()
    with pytest.raises(SweepError, match=rf"^{path}: cannot write: No such file or directory$"):
        lease.check()
    lease.release()


def test_a_mirror_and_a_store_name_what_they_cannot_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    share, root = tmp_path / "share", tmp_path / "mirror"
    store = ObjectStore(share.as_uri())
    store.put("demo/events/00000000", b"event\n")
    store.put("demo/sweep.yaml", b"name: demo\n")
    mirror = Mirror(root, store)
    with no_room(), pytest.raises(SweepError, match=r"mirror/demo/.+: cannot write: File too"):
        mirror.pull("demo")
    assert [path for path in root.rglob("*") if path.is_file()] == []
    mirror.pull("demo")
    assert (root / "demo" / "events.jsonl").read_bytes() == b"event\n"

    with no_room(), pytest.raises(StoreError, match=f"^{share.as_uri()}/demo/events/00000001: can"):
        mirror.push_event("demo", 1, b"event\n")
    assert sorted(os.listdir(share / "demo" / "events")) == ["00000000"]  # noqa: PTH208 - dotfiles

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with no_room(), pytest.raises(SweepError, match=r"cache/droplora-sweep/.+: cannot write: "):
        local_storage(share.as_uri())
    with no_room(), pytest.raises(SweepError, match=r"\.mlflow-login.*: cannot write: File too"):
        ui_login(tmp_path)
