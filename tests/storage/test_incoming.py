"""The folder that receives files in pieces: whole and undamaged, or refused with one reason."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from droplora_sweep.errors import SweepError
from droplora_sweep.publishing import publish_folder, verify_folder
from droplora_sweep.storage.file_set import FileFacts, FileSet, described, published
from droplora_sweep.storage.incoming import (
    IncomingFolder,
    clear_incoming,
    fresh_incoming,
    new_box,
)

if TYPE_CHECKING:
    from collections.abc import Callable

CONTENT = bytes(range(256)) * 40
PIECE = 1000


@pytest.fixture
def incoming(tmp_path: Path) -> IncomingFolder:
    return IncomingFolder(fresh_incoming(tmp_path / ".incoming"))


def facts(content: bytes) -> FileFacts:
    return FileFacts(len(content), hashlib.sha256(content).hexdigest())


def send(incoming: IncomingFolder, box: str, name: str, content: bytes = CONTENT) -> None:
    """In pieces, the last one first: several are on the way at once."""
    for offset in reversed(range(0, len(content), PIECE)):
        incoming.write(box, name, offset, content[offset : offset + PIECE])


def test_pieces_make_the_file_whatever_their_order(incoming: IncomingFolder) -> None:
    box = incoming.open("t0001-3f2a91bc")
    send(incoming, box, "sub/weights")
    incoming.write(box, "empty", 0, b"")
    files = incoming.seal(box, {"sub/weights": facts(CONTENT), "empty": facts(b"")})
    assert files.path("sub/weights").read_bytes() == CONTENT
    assert files.size_bytes == len(CONTENT)
    assert described(Path(files.folder)) == files


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[5000] ^= 1
    path.write_bytes(content)


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-PIECE])


@pytest.mark.parametrize(
    ("hurt", "told"),
    [
        (damage, "sha256 must be {sha256}, got "),
        (cut_off, "must have 10240 bytes, got 9240: it was cut off on its way"),
        (Path.unlink, "must have arrived, but is missing"),
    ],
)
def test_what_did_not_arrive_whole_is_refused(
    incoming: IncomingFolder, hurt: Callable[[Path], None], told: str
) -> None:
    box = incoming.open("t0001-3f2a91bc")
    send(incoming, box, "weights")
    hurt(path := incoming.box(box) / "weights")
    with pytest.raises(SweepError) as caught:
        incoming.seal(box, {"weights": facts(CONTENT)})
    assert str(caught.value).startswith(f"{path}: {told.format(sha256=facts(CONTENT).sha256)}")
    assert "\n" not in str(caught.value)


def test_the_next_attempt_removes_what_the_last_one_left(incoming: IncomingFolder) -> None:
    first, other = incoming.open("t0001-3f2a91bc"), incoming.open("t0001-3f2a91bd")
    send(incoming, first, "weights")
    second = incoming.open("t0001-3f2a91bc")
    assert not incoming.box(first).exists()
    assert incoming.box(second).is_dir()
    assert incoming.box(other).is_dir()


def test_a_driver_finds_nothing_of_an_earlier_one(tmp_path: Path) -> None:
    root = tmp_path / "results" / ".incoming"
    earlier = IncomingFolder(fresh_incoming(root))
    send(earlier, earlier.open("t"), "weights")
    now = fresh_incoming(root)
    assert list(root.iterdir()) == [now]
    clear_incoming(root)
    assert not root.exists()
    clear_incoming(root)


def test_a_box_has_a_plain_name_and_files_stay_in_it(incoming: IncomingFolder) -> None:
    box = new_box("test/t0001")
    assert Path(box).name == box
    for name in ("../outside", "/outside"):
        with pytest.raises(AssertionError, match="inside its box"):
            incoming.write(incoming.open("t"), name, 0, b"")


def test_received_files_are_published_by_a_rename(incoming: IncomingFolder, tmp_path: Path) -> None:
    box = incoming.open("t")
    send(incoming, box, "weights")
    files = incoming.seal(box, {"weights": facts(CONTENT)})
    number = files.path("weights").stat().st_ino
    digest = publish_folder(tmp_path / "adapter", {**files.moved(), "card": b"text"})
    verify_folder(tmp_path / "adapter", digest)
    assert (tmp_path / "adapter" / "weights").stat().st_ino == number
    assert (tmp_path / "adapter" / "weights").stat().st_mode & 0o777 == 0o600
    assert not files.path("weights").exists()
    again = published(tmp_path / "adapter", without=("card",))
    assert again.files == files.files
    publish_folder(tmp_path / "copy", again.copied())
    assert (tmp_path / "copy" / "weights").read_bytes() == CONTENT


def test_a_received_file_that_was_changed_is_not_published(
    incoming: IncomingFolder, tmp_path: Path
) -> None:
    box = incoming.open("t")
    send(incoming, box, "weights")
    files = incoming.seal(box, {"weights": facts(CONTENT)})
    damage(files.path("weights"))
    with pytest.raises(SweepError, match=r"weights: sha256 must be [0-9a-f]{64}, got "):
        publish_folder(tmp_path / "adapter", files.moved())
    assert [path.name for path in tmp_path.iterdir()] == [".incoming"]


def test_a_full_disk_is_named(small_disk: Path) -> None:
    incoming = IncomingFolder(fresh_incoming(small_disk / ".incoming"))
    box = incoming.open("t")
    incoming.write(box, "weights", 0, bytes(8 << 20))
    with pytest.raises(SweepError) as caught:
        incoming.write(box, "weights", 8 << 20, bytes(200 << 20))
    path = incoming.box(box) / "weights"
    assert str(caught.value) == f"{path}: cannot write: No space left on device"
    incoming.drop(box)
    assert FileSet(str(incoming.box(box)), {}).size_bytes == 0
