import hashlib
import json
import re

import pytest

from droplora_sweep.errors import SweepError
from droplora_sweep.ledger.files import publish_adapter, verify_adapter

FILES = {
    "adapter_model.safetensors": b"\x00\x01",
    "adapter_config.json": b"{}",
    "extra/notes": b"n",
}


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "trials" / "t0000-00000001" / "adapter"


def test_a_published_adapter_holds_its_files_and_verifies(directory):
    digest = publish_adapter(directory, FILES)
    assert {name: (directory / name).read_bytes() for name in FILES} == FILES
    verify_adapter(directory)
    verify_adapter(directory, digest)
    manifest = (directory / "MANIFEST.json").read_bytes()
    assert digest == hashlib.sha256(manifest).hexdigest()
    assert json.loads(manifest)["files"]["adapter_config.json"] == {
        "sha256": hashlib.sha256(b"{}").hexdigest(),
        "size_bytes": 2,
    }


def test_only_the_owner_can_read_it(directory):
    publish_adapter(directory, FILES)
    assert directory.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o077 for path in directory.rglob("*")} == {0}


def test_nothing_is_left_beside_it_not_even_of_an_attempt_that_died(directory):
    died = directory.parent / ".adapter.tmp-0123abcd"
    died.mkdir(parents=True)
    (died / "adapter_model.safetensors").write_bytes(b"half")
    publish_adapter(directory, FILES)
    assert [path.name for path in directory.parent.iterdir()] == ["adapter"]


def test_an_adapter_that_was_never_recorded_is_replaced(directory):
    old = publish_adapter(directory, {"adapter_model.safetensors": b"old", "stale": b""})
    new = publish_adapter(directory, FILES)
    verify_adapter(directory, new)
    assert not (directory / "stale").exists()
    assert [path.name for path in directory.parent.iterdir()] == ["adapter"]
    with pytest.raises(SweepError, match=f"MANIFEST.json: sha256 must be {old}, got {new}"):
        verify_adapter(directory, old)


def test_every_damage_is_named(directory):
    publish_adapter(directory, FILES)
    (directory / "adapter_model.safetensors").write_bytes(b"\x00\x02")
    (directory / "adapter_config.json").unlink()
    (directory / "payload.pkl").write_bytes(b"")
    with pytest.raises(SweepError) as caught:
        verify_adapter(directory)
    missing, extra, changed = str(caught.value).splitlines()
    assert missing == f"{directory}/adapter_config.json: is missing"
    assert extra == f"{directory}/payload.pkl: is not in MANIFEST.json"
    assert re.match(
        rf"{directory}/adapter_model.safetensors: sha256 must be \w{{64}}, got \w{{64}}$", changed
    )


def test_a_folder_without_manifest_is_no_adapter(directory):
    with pytest.raises(SweepError, match=r"MANIFEST\.json: must exist in a published folder"):
        verify_adapter(directory)


@pytest.mark.parametrize("content", [b"", b"[]", b'{"files": {"a": 1}}', b"\xff"])
def test_a_damaged_manifest_is_named(directory, content):
    publish_adapter(directory, FILES)
    (directory / "MANIFEST.json").write_bytes(content)
    with pytest.raises(SweepError, match=r"MANIFEST\.json: must list files .*, but is damaged"):
        verify_adapter(directory)


@pytest.mark.parametrize("name", ["../evil", "/tmp/evil", "a/../../evil"])
def test_no_file_leaves_the_folder(directory, name):
    with pytest.raises(AssertionError, match="must be inside the published folder"):
        publish_adapter(directory, {name: b""})
