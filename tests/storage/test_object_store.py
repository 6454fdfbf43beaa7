"""Objects are whole, found by prefix, and named where the store refuses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from droplora_sweep.errors import SweepError
from droplora_sweep.storage.object_store import ObjectStore
from droplora_sweep.storage.remote_lease import RemoteLease

if TYPE_CHECKING:
    from pathlib import Path


DRIVER = {"host": "host", "pid": 7, "since": "then"}


def take(store: ObjectStore, sweep: str, *, is_gone: bool = False, **times: float) -> RemoteLease:
    return RemoteLease(store, sweep, DRIVER, lambda driver: is_gone, **times)


@pytest.fixture(params=["s3", "gs", "file"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    if request.param == "file":
        return ObjectStore((tmp_path / "share").as_uri())
    return ObjectStore(request.getfixturevalue(f"{request.param}_url"))


def test_objects_are_put_found_read_and_deleted(store: ObjectStore) -> None:
    assert store.stamps("demo") == {}
    store.put("demo/b/two", b"22")
    store.put("demo/a", b"1")
    store.put("other/a", b"333")
    store.put("demo/a", b"1111")
    sizes = {key: stamp.size_bytes for key, stamp in store.stamps("demo").items()}
    assert sizes == {"demo/a": 4, "demo/b/two": 2}
    assert store.stamp("demo/a") == store.stamps("demo")["demo/a"]
    assert store.get("demo/a") == b"1111"
    assert store.exists("demo/a")
    store.delete("demo/a")
    assert not store.exists("demo/a")
    assert list(store.stamps("demo")) == ["demo/b/two"]


def test_what_is_not_there_is_named(store: ObjectStore) -> None:
    with pytest.raises(SweepError, match=r"/demo/none: cannot read: "):
        store.get("demo/none")


def test_one_driver_has_a_sweep_until_it_gives_it_back_or_dies(store: ObjectStore) -> None:
    first = take(store, "demo")
    with pytest.raises(
        SweepError,
        match=r"demo: must have one driver, and is already running on host, pid 7, since then",
    ):
        take(store, "demo")
    take(store, "other").release()
    first.check()
    taken = take(store, "demo", expires_s=0.0)
    with pytest.raises(
        SweepError, match="another driver has taken demo over; this driver stops writing"
    ):
        first.check()
    first.release()
    taken.check()
    dead = taken
    take(store, "demo", is_gone=True).release()
    with pytest.raises(SweepError, match="another driver has taken demo over"):
        dead.check()
    dead.release()
    take(store, "demo").release()


def test_an_unknown_kind_of_url_is_refused() -> None:
    with pytest.raises(SweepError, match=r"storage: cannot open nowhere://x: "):
        ObjectStore("nowhere://x")
