"""The file server: files arrive whole through Ray, also where its process dies on the way."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest
import ray
from ray._private.state import state

from droplora_sweep.errors import SweepError
from droplora_sweep.groups.deliveries import Deliveries
from droplora_sweep.groups.file_server import (
    PIECE_BYTES,
    CheckpointsThroughServer,
    FileClient,
    start_file_server,
)
from droplora_sweep.publishing import verify_folder
from droplora_sweep.storage.file_set import described
from droplora_sweep.storage.incoming import fresh_incoming
from droplora_sweep.training.checkpoints.places import CheckpointsInFolder, checkpoint_place
from tests.saved_files import read_files, write_files

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ray.actor import ActorHandle

    from droplora_sweep.spec import CheckpointTransport

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("local_ray")]

FILES = {"weights": os.urandom(2 * PIECE_BYTES + 5), "config": b"{}", "empty": b""}
TIMEOUT_S = 60.0


@pytest.fixture
def incoming(tmp_path: Path) -> Path:
    return fresh_incoming(tmp_path / "driver" / ".incoming")


@pytest.fixture
def server(incoming: Path) -> Iterator[ActorHandle[Any]]:
    server = start_file_server(incoming.name, incoming)
    yield server
    ray.kill(server)


def deliveries(
    server: ActorHandle[Any], incoming: Path, transport: CheckpointTransport
) -> Deliveries:
    return Deliveries(str(incoming), transport, FileClient(server))


def pid_of(server: ActorHandle[Any]) -> int:
    table: Any = state.actor_table(server._actor_id.hex())
    return int(table["Pid"])


@pytest.mark.parametrize("transport", ["auto", "storage", "ray"])
def test_what_is_put_into_an_outbox_is_the_same_by_every_way(
    server: ActorHandle[Any], incoming: Path, transport: CheckpointTransport
) -> None:
    way = deliveries(server, incoming, transport)
    with way.outbox("t0001-3f2a91bc") as outbox:
        is_direct = outbox.folder.parent == incoming
        assert is_direct is (transport != "ray")
        write_files(outbox.folder, FILES)
        files = outbox.deliver()
    assert read_files(incoming / files.path("").name) == FILES
    with way.fetched(files) as folder:
        assert read_files(folder) == FILES
        assert (folder == files.path("")) is is_direct


def test_what_is_not_delivered_leaves_nothing(server: ActorHandle[Any], incoming: Path) -> None:
    with deliveries(server, incoming, "auto").outbox("t0001-3f2a91bc") as outbox:
        write_files(outbox.folder, FILES)
    assert list(incoming.iterdir()) == []


def test_a_server_that_dies_on_the_way_is_started_again_and_nothing_is_lost(
    server: ActorHandle[Any], incoming: Path, tmp_path: Path
) -> None:
    ray.get(server.checkpoints.remote(str(tmp_path), "checkpoints"))
    killed: list[int] = []

    def kill_once() -> None:
        if not killed:
            killed.append(pid_of(server))
            os.kill(killed[0], signal.SIGKILL)

    folder = write_files(tmp_path / "left", {"weights": os.urandom(8 * PIECE_BYTES)})
    sent = FileClient(server, on_piece=kill_once).send(folder, "box")
    assert killed
    assert pid_of(server) != killed[0]
    assert described(incoming / "box").files == described(folder).files == sent.files


def test_a_server_that_is_gone_for_good_is_one_reason(
    server: ActorHandle[Any], tmp_path: Path
) -> None:
    ray.kill(server)
    folder = write_files(tmp_path / "left", FILES)
    with pytest.raises(SweepError) as caught:
        FileClient(server).send(folder, "box")
    assert str(caught.value).startswith(
        "the file server, the process on the driver's node that takes what trials leave, has died: "
    )
    assert "\n" not in str(caught.value)


def test_files_that_changed_meanwhile_are_not_fetched(
    server: ActorHandle[Any], tmp_path: Path
) -> None:
    files = described(write_files(tmp_path / "saved", FILES))
    (tmp_path / "saved" / "config").write_bytes(b"[]")
    (tmp_path / "into").mkdir()
    with pytest.raises(SweepError, match=r"saved/config: sha256 must be [0-9a-f]{64}, got "):
        FileClient(server).fetch(files, tmp_path / "into")
    files.path("config").unlink()
    (tmp_path / "again").mkdir()
    with pytest.raises(SweepError, match="saved/config: cannot read: No such file"):
        FileClient(server).fetch(files, tmp_path / "again")


def test_a_full_disk_is_named_and_leaves_room(small_disk: Path, tmp_path: Path) -> None:
    incoming = fresh_incoming(small_disk / ".incoming")
    server = start_file_server(incoming.name, incoming)
    try:
        folder = write_files(tmp_path / "left", {"weights": bytes(200 << 20)})
        with pytest.raises(SweepError) as caught:
            FileClient(server).send(folder, "box")
        path = incoming / "box" / "weights"
        assert str(caught.value) == f"{path}: cannot write: No space left on device"
        deadline = time.monotonic() + TIMEOUT_S
        while (incoming / "box").exists():
            assert time.monotonic() < deadline, "what has arrived is removed"
            time.sleep(0.1)
    finally:
        ray.kill(server)


def test_checkpoints_through_the_server_are_those_that_a_worker_writes_itself(
    server: ActorHandle[Any], incoming: Path, tmp_path: Path
) -> None:
    trial = tmp_path / "driver" / "trials" / "t0001"
    through = deliveries(server, incoming, "ray").checkpoints(str(trial), "checkpoints")
    assert isinstance(through, CheckpointsThroughServer)
    own = deliveries(server, incoming, "auto").checkpoints(str(trial), "checkpoints")
    assert isinstance(own, CheckpointsInFolder)
    assert through.names() == []
    for step in (1, 2, 3):
        through.publish(f"step-0000000{step}", {**FILES, "step": str(step).encode()})
    assert list(incoming.iterdir()) == []
    assert through.names() == own.names() == ["step-00000003", "step-00000002", "step-00000001"]
    verify_folder(trial / "checkpoints" / "step-00000003")
    with through.folder("step-00000002") as folder, own.folder("step-00000002") as whole:
        verify_folder(folder)
        assert read_files(folder) == read_files(whole)
    through.prune(2)
    assert own.names() == ["step-00000003", "step-00000002"]
    (trial / "checkpoints" / "step-00000003" / "weights").write_bytes(b"other")
    damaged = f"{trial}/checkpoints/step-00000003/weights: sha256 must be "
    with pytest.raises(SweepError, match=damaged), through.folder("step-00000003"):
        pass
    through.clear()
    assert own.names() == []


def test_a_worker_without_credentials_keeps_checkpoints_in_a_store(
    server: ActorHandle[Any], incoming: Path, tmp_path: Path
) -> None:
    trial = f"file://{tmp_path}/store/trials/t0001"
    through = deliveries(server, incoming, "ray").checkpoints(trial, "checkpoints")
    through.publish("step-00000001", FILES)
    assert checkpoint_place(trial).names() == ["step-00000001"]
    with through.folder("step-00000001") as folder:
        verify_folder(folder)
        assert read_files(folder).items() >= FILES.items()


def test_a_storage_that_a_node_must_see_and_does_not_is_refused(
    server: ActorHandle[Any], incoming: Path, tmp_path: Path
) -> None:
    trial = str(tmp_path / "results" / "first" / "trials" / "t0001")
    blind = Deliveries(str(tmp_path / "elsewhere"), "storage", FileClient(server))
    assert str(blind.fault_of(trial)) == (
        "group.checkpoint_transport: must be auto or ray where a worker's node does not see the "
        f"storage, got storage, but {tmp_path}/results/first is not there; mount it, or let "
        "checkpoints go through Ray"
    )
    assert blind.fault_of("s3://bucket/first/trials/t0001") is None
    assert deliveries(server, incoming, "storage").fault_of(trial) is None
    auto = Deliveries(str(tmp_path / "elsewhere"), "auto", FileClient(server))
    assert auto.fault_of(trial) is None
    assert isinstance(auto.checkpoints(trial, "checkpoints"), CheckpointsThroughServer)
