"""The check that no test is left out for an unknown reason."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests import skips

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("reason", skips.LIMITS_OF_OTHERS)
def test_what_no_machine_can_run_is_known(reason: str) -> None:
    assert skips.is_known(reason, missing=[])


def test_a_program_s_reason_is_known_only_where_it_is_missing() -> None:
    reason = "no sandbox: bubblewrap (bwrap) is not installed"
    assert skips.is_known(reason, missing=["bwrap"])
    assert not skips.is_known(reason, missing=["chromium"])


def test_the_check_counts_unknown_reasons() -> None:
    reasons = ["Chromium is not installed", "too slow today", "too slow today"]
    assert skips.complaints(reasons, ["chromium"]) == [
        "2 skipped for a reason that tests/skips.py does not list: too slow today"
    ]


@pytest.mark.parametrize(
    ("reason", "code"), [("too slow today", 1), (skips.LIMITS_OF_OTHERS[0], 0)]
)
@pytest.mark.parametrize("processes", ["0", "1"])
def test_a_run_fails_for_an_unknown_skip_alone(
    tmp_path: Path, reason: str, code: int, processes: str
) -> None:
    """Of a test or of a whole module, in one process and in several."""
    (tmp_path / "conftest.py").write_text((ROOT / "tests/conftest.py").read_text())
    (tmp_path / "test_one.py").write_text(
        f"import pytest\ndef test_one(): pytest.skip({reason!r})\ndef test_two(): pass\n"
    )
    (tmp_path / "test_module.py").write_text(
        f"import pytest\npytest.skip({reason!r}, allow_module_level=True)\n"
    )
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-c", "/dev/null"]
    options = ["--rootdir", str(tmp_path), "-n", processes, "--known-skips-only"]
    ended = subprocess.run(
        [*command, *options, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ended.returncode == code, ended.stdout + ended.stderr
    assert ("2 skipped for a reason that tests/skips.py does not list" in ended.stdout) == (
        code > 0
    )
