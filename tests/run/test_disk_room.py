"""A disk that is nearly full is named before it is full."""

from pathlib import Path

import pytest

from droplora_sweep.errors import SweepError
from droplora_sweep.run.ending import full_disk, full_disk_named


def test_a_disk_with_room_is_none_of_note(tmp_path):
    assert full_disk([tmp_path, tmp_path / "not" / "made" / "yet"], min_free_bytes=1) is None


@pytest.mark.parametrize("name", [".", "not/made/yet"])
def test_a_disk_without_room_is_named_by_the_folder_on_it(tmp_path, name):
    told = full_disk([tmp_path / name], min_free_bytes=10**18)
    assert told.startswith(f"a full disk: {tmp_path / name} has ")
    assert told.endswith(" MB left, and 1000000000000 MB are kept free to end in order")


def test_what_fails_on_a_full_disk_is_told_as_that(tmp_path):
    with pytest.raises(ZeroDivisionError), full_disk_named([tmp_path]):
        raise ZeroDivisionError
    full = Path("/proc")
    with (
        pytest.raises(SweepError, match="a full disk: /proc has 0 MB left"),
        full_disk_named([full]),
    ):
        raise ZeroDivisionError
    with pytest.raises(SweepError, match="another"), full_disk_named([full]):
        raise SweepError("another")
