"""A sweep's folder goes to a URL and comes back on another machine, whole or not at all."""

from __future__ import annotations

import urllib.request
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from droplora_sweep.errors import InputError, SweepError
from droplora_sweep.ledger.progress import (
    LiveProgress,
    TimeLeft,
    read_progress,
    write_progress,
)
from droplora_sweep.publishing import publish_folder
from droplora_sweep.records.layout import PROGRESS
from droplora_sweep.storage.mirror import Mirror, local_storage, mirror_of, storage_name
from droplora_sweep.storage.object_store import ObjectStore

ADAPTER = "demo/trials/t0000-00000001/adapter"


@pytest.fixture
def mirror(url: str) -> Mirror:
    root = local_storage(url)
    publish_folder(root / ADAPTER, {"adapter_model.safetensors": b"weights", "a.json": b"{}"})
    (root / "demo" / "sweep.yaml").write_text("name: demo\n")
    (root / "demo" / "driver.log").write_text("noise\n")
    # What the driver of this machine is asked.
    (root / "demo" / "requests").mkdir()
    (root / "demo" / "requests" / "t-1.request").write_text("{}")
    (root / "demo" / "study.db-wal").write_text("")
    (root / "demo" / ".sweep.yaml.tmp-1").write_text("torn")
    (root / "mlflow.db").write_text("")
    found = mirror_of(root)
    assert found is not None
    return found


@pytest.fixture
def elsewhere(url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The root of the mirror that another machine has of the same URL."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "machine-2"))
    return local_storage(url)


def content(root: Path) -> dict[str, bytes]:
    files = (path for path in root.rglob("*") if path.is_file() and path.parent != root)
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


def test_a_folder_comes_back_from_the_url_alone(mirror: Mirror, elsewhere: Path) -> None:
    for seq in range(11):
        mirror.push_files("demo")
        mirror.push_event("demo", seq, b"event %d\n" % seq)
    mirror.push_files("demo", with_log=True)
    other = mirror_of(elsewhere)
    assert other is not None
    assert other.names() == ["demo"]
    other.pull("demo")
    found = content(elsewhere)
    assert found.pop("demo/events.jsonl") == b"".join(b"event %d\n" % seq for seq in range(11))
    assert found.pop("demo/driver.log") == b"noise\n"
    assert found.pop("demo/.mirrored.json")
    assert sorted(found) == [
        "demo/sweep.yaml",
        f"{ADAPTER}/MANIFEST.json",
        f"{ADAPTER}/a.json",
        f"{ADAPTER}/adapter_model.safetensors",
    ]
    modes = {path.stat().st_mode & 0o077 for path in elsewhere.rglob("*")}
    assert modes == {0}


def test_what_goes_here_goes_there(mirror: Mirror, url: str) -> None:
    mirror.push_files("demo")
    store = ObjectStore(url)
    assert store.exists("demo/sweep.yaml")
    (local_storage(url) / "demo" / "sweep.yaml").unlink()
    mirror.push_files("demo")
    assert not store.exists("demo/sweep.yaml")


def test_a_stale_file_of_the_same_length_is_replaced(mirror: Mirror, elsewhere: Path) -> None:
    mirror.push_files("demo")
    mirror.push_event("demo", 0, b"event\n")
    other = mirror_of(elsewhere)
    assert other is not None
    publish_folder(elsewhere / ADAPTER, {"adapter_model.safetensors": b"WEIGHTS", "a.json": b"{}"})
    (elsewhere / "demo" / "unrecorded.json").write_text("{}")
    other.pull("demo")
    assert (elsewhere / ADAPTER / "adapter_model.safetensors").read_bytes() == b"weights"
    assert not (elsewhere / "demo" / "unrecorded.json").exists()


def test_checkpoints_are_left_to_the_workers(mirror: Mirror, url: str) -> None:
    folder = local_storage(url) / "demo/trials/t0000-00000001/checkpoints/step-00000001"
    publish_folder(folder, {"state.json": b"{}"})
    mirror.push_files("demo")
    mirror.push_event("demo", 0, b"event\n")
    store, key = ObjectStore(url), folder.relative_to(local_storage(url)).as_posix()
    assert not store.exists(f"{key}/state.json")
    store.put(f"{key}/weights", b"worker's")
    mirror.pull("demo")
    assert not (folder / "weights").exists()
    assert (folder / "state.json").exists()


def test_steps_of_running_trials_stay_on_the_drivers_machine(mirror: Mirror, url: str) -> None:
    folder, live = local_storage(url) / "demo", LiveProgress({}, TimeLeft(None))
    write_progress(folder, live)
    mirror.push_files("demo")
    mirror.push_event("demo", 0, b"event\n")
    mirror.pull("demo")
    assert read_progress(folder) == live
    assert not ObjectStore(url).exists(f"demo/{PROGRESS}")


def test_an_event_is_written_once(mirror: Mirror) -> None:
    mirror.push_event("demo", 0, b"mine\n")
    mirror.push_event("demo", 0, b"mine\n")
    with pytest.raises(SweepError, match="demo/events/00000000 must be new; another driver has "):
        mirror.push_event("demo", 0, b"yours\n")


@pytest.mark.parametrize(
    ("key", "damage", "problem"),
    [
        (f"{ADAPTER}/adapter_model.safetensors", b"weighty", "adapter_model.safetensors: sha256 "),
        ("demo/events/00000000", None, "must hold every event, lacks demo/events/00000000"),
    ],
)
def test_damage_in_the_store_is_named(
    mirror: Mirror, elsewhere: Path, url: str, key: str, damage: bytes | None, problem: str
) -> None:
    mirror.push_files("demo")
    for seq in range(2):
        mirror.push_event("demo", seq, b"event\n")
    store = ObjectStore(url)
    if damage is None:
        store.delete(key)
    else:
        store.put(key, damage)
    other = mirror_of(elsewhere)
    assert other is not None
    with pytest.raises(SweepError, match=problem):
        other.pull("demo")


@pytest.mark.parametrize("url", ["s3"], indirect=True)
def test_a_name_that_leads_out_of_the_mirror_is_refused(mirror: Mirror, url: str) -> None:
    mirror.push_event("demo", 0, b"event\n")
    parts = urlsplit(url)
    host = parse_qs(parts.query)["endpoint_override"][0]
    name = f"http://{host}/{parts.netloc}/sweeps/demo/%2E%2E/%2E%2E/outside"
    urllib.request.urlopen(urllib.request.Request(name, b"x", method="PUT"), timeout=20)
    with pytest.raises(SweepError, match=r"must hold plain names, got 'demo/\.\./\.\./outside'"):
        mirror.pull("demo")
    assert not (local_storage(url).parent / "outside").exists()


def test_a_folder_mirrors_nothing(tmp_path: Path) -> None:
    assert local_storage(str(tmp_path)) == tmp_path
    assert local_storage("results") == Path("results")
    assert mirror_of(tmp_path) is None
    assert storage_name(tmp_path) == str(tmp_path)


def test_a_mirror_is_its_owners_alone_and_known_by_its_url(url: str) -> None:
    root = local_storage(url)
    root.chmod(0o755)
    assert local_storage(url) == root
    assert root.stat().st_mode & 0o777 == 0o700
    assert storage_name(root) == url


@pytest.mark.parametrize(
    "secret",
    ["s3://ann:tulip-in-march@bucket/sweeps", "gs://bucket/sweeps?token=tulip-in-march"],
    ids=["password", "key"],
)
def test_a_url_with_a_secret_is_refused_without_showing_it(secret: str) -> None:
    with pytest.raises(
        InputError, match="storage: must not hold a secret, got a URL with a "
    ) as at:
        local_storage(secret)
    assert "tulip" not in str(at.value)
