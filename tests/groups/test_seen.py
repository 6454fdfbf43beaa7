"""Digests that nodes compare: of a model's files, and of what they see of data."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from droplora_sweep.errors import InputError
from droplora_sweep.groups.leases import LeaseBook
from droplora_sweep.groups.seen import Seen
from droplora_sweep.models.digests import (
    NUM_SAMPLES,
    SAMPLE_BYTES,
    WHOLE_BYTES,
    file_digest,
    model_digests,
    model_digests_of,
)
from droplora_sweep.models.resolving import BUILTIN_FOLDER
from droplora_sweep.spec.trial import ModelSpec

if TYPE_CHECKING:
    from pathlib import Path


def seen(place: str, field: str = "model.path", **digests: str) -> Seen:
    return Seen(field=field, place=place, digests=digests)


def test_all_see_the_same() -> None:
    book = LeaseBook(1)
    assert book.compare([seen("node a", x="1"), seen("node b", x="1")]) == []
    assert book.compare([seen("node c", "task.data", x="2"), seen("node c", x="1")]) == []


def test_one_that_sees_something_else_is_named_with_the_first() -> None:
    book = LeaseBook(1)
    book.compare([seen("the driver's node", x="1", y="2")])
    [fault] = book.compare([seen("node a", x="1", y="2"), seen("node b", x="1", y="3")])
    assert str(fault) == (
        "model.path: must be the same on all nodes: y on node b is not that on the driver's node"
    )
    [fault] = book.compare([seen("node c", x="1")])
    assert fault.problem.endswith("y is on the driver's node and not on node c")
    [fault] = book.compare([seen("node d", x="1", y="2", z="4")])
    assert fault.problem.endswith("z is on node d and not on the driver's node")


def test_a_model_has_a_digest_of_each_file_that_loading_reads(tmp_path: Path) -> None:
    digests = model_digests(BUILTIN_FOLDER)
    assert {"config.json", "tokenizer.json"} <= digests.keys()
    assert any(name.endswith(".safetensors") for name in digests)
    assert digests == model_digests_of(ModelSpec(path="builtin"))
    for file in BUILTIN_FOLDER.iterdir():
        if file.is_file():
            (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "README.md").write_text("mine")
    assert model_digests(tmp_path) == digests
    config = tmp_path / "config.json"
    config.write_text(config.read_text().replace("{", "{ ", 1))
    changed = model_digests(tmp_path)
    assert [name for name in digests if digests[name] != changed[name]] == ["config.json"]


def test_a_model_that_is_not_here_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"model\.path: must be builtin, a folder or a Hub id"):
        model_digests_of(ModelSpec(path=str(tmp_path / "gone")))


@pytest.mark.parametrize("place", [0.0, 0.31, 0.77, 1.0])
def test_of_large_files_a_sample_tells_what_training_changes(tmp_path: Path, place: float) -> None:
    file = tmp_path / "model.safetensors"
    size = WHOLE_BYTES + 12_345_678
    with file.open("wb") as sparse:
        sparse.truncate(size)
    before = file_digest(file)
    # A tensor: as long as the distance between two samples at least.
    length = size // (NUM_SAMPLES - 1) + SAMPLE_BYTES
    with file.open("r+b") as content:
        content.seek(int(place * (size - length)))
        content.write(b"\1" * length)
    assert file_digest(file) != before
    with file.open("r+b") as content:
        content.truncate(size - 1)
        content.seek(0)
    assert file_digest(file) != before
