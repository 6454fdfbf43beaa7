"""The suite as a whole: processes, deadline, machines without a GPU or without packages."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.gpu.__main__ import NO_GPU
from tests.gpu.bare import bare_environment
from tests.gpu.packages import CORE_PACKAGES, missing, version_ranges, versions
from tests.gpu.rows import judged
from tests.gpu.suite import CHECKS, Check, chosen, environment, read_told, run_suite

ROOT = Path(__file__).parents[2]
CORE = [check.name for check in chosen([], core=True)]
NOT_IN_CORE = ("ray", "mlflow", "optuna", "datasets", "pyarrow", "pytest", "sqlalchemy", "trl")
NO_DEVICE = {"CUDA_VISIBLE_DEVICES": ""}


@pytest.fixture(scope="session")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Python of an environment that has the core's packages alone."""
    return bare_environment(tmp_path_factory.mktemp("bare") / "environment", CORE_PACKAGES)


def call(*words: str | Path, timeout_s: float = 100) -> subprocess.CompletedProcess[str]:
    own = environment(Path("/nonexistent"), "cpu") | NO_DEVICE | {"PYTHONPATH": ""}
    # Also where another make runs the tests.
    kept = {name: one for name, one in own.items() if "MAKE" not in name and name != "PYTHON"}
    return subprocess.run(
        [*map(str, words)],
        cwd=ROOT,
        env=kept,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


def test_checks_have_no_more_time_than_all_together() -> None:
    rows = run_suite(CHECKS, "tiny", "cpu", deadline_s=0)
    assert [row.check for row in rows] == [check.name for check in CHECKS]
    assert {row.outcome for row in rows} == {"not run"}
    assert rows[0].note == "the 0 s were up before it began"


def test_a_check_that_hangs_is_ended_and_is_a_failure() -> None:
    log = io.StringIO()
    rows = run_suite([Check(name="device", limit_s=0.01)], "tiny", "cpu", log=log)
    [row] = rows
    assert (row.outcome, row.case) == ("failed", "start")
    assert row.note == "not done when its 0 s were up"
    assert "device: 1 rows" in log.getvalue()


def test_the_case_at_which_a_process_ended() -> None:
    row = judged("device", "copy", 1.0, low=0.5)
    told = [json.dumps({"begin": "paces"}), json.dumps({**row.__dict__}), '{"begin": "bfloat16"}']
    assert read_told("\n".join(told)) == ([row], "bfloat16")
    assert read_told("\n".join([*told, '{"end": "device"}'])) == ([row], None)


def test_a_missing_package_is_named_in_one_line() -> None:
    assert missing() is None
    assert missing(("torch", "peft-of-tomorrow", "nope")) == (
        "cannot run: peft-of-tomorrow, nope not installed here; pip install peft-of-tomorrow nope"
    )


def test_the_versions_that_were_tested_stand_beside_those_that_are_here() -> None:
    found = version_ranges((ROOT / "pyproject.toml").read_text())
    assert set(CORE_PACKAGES) <= found.keys()
    assert found["peft"] in versions()["peft"]


def test_a_machine_without_a_gpu_is_told_so_and_fails_nothing() -> None:
    done = call(sys.executable, "-m", "tests.gpu")
    assert (done.returncode, done.stdout) == (0, f"{NO_GPU}\n"), done.stderr


def test_the_core_is_imported_where_nothing_else_is_installed(bare: Path) -> None:
    lines = ["import importlib.util as util", *(f"import tests.gpu.checks.{one}" for one in CORE)]
    lines += ["import tests.gpu.rank", "import droplora_sweep.training.runner"]
    lines += [f"print([one for one in {NOT_IN_CORE!r} if util.find_spec(one)])"]
    done = call(bare, "-c", "\n".join(lines))
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr


@pytest.mark.parametrize("given", [True, False])
def test_make_takes_the_python_that_is_named(given: bool) -> None:
    named = ("PYTHON=/some/python",) if given else ()
    done = call("make", "--dry-run", "test-gpu-core", *named)
    assert done.returncode == 0, done.stderr
    [line] = done.stdout.splitlines()
    here = ".venv/bin/python" if (ROOT / ".venv" / "bin" / "python").exists() else "python3"
    assert line.split()[0] == ("/some/python" if given else here)
    assert "-m tests.gpu --core" in line


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_all_of_the_core_runs_in_a_bare_environment(bare: Path, tmp_path: Path) -> None:
    told = tmp_path / "rows.json"
    settings = f"--tiny --device cpu --seconds 2000 --json {told}"
    done = call("make", "test-gpu-core", f"PYTHON={bare}", f"ARGS={settings}", timeout_s=2300)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(told.read_text())
    assert {row["check"] for row in found["rows"]} == set(CORE)
    assert {row["outcome"] for row in found["rows"]} <= {"passed", "measured", "skipped"}
    assert found["machine"]["packages"].keys() == set(CORE_PACKAGES)
    # `make` shows its command first.
    header = done.stdout.splitlines()[1]
    assert header.split()[:3] == ["check", "case", "value"]


@pytest.mark.gpu
@pytest.mark.slow
@pytest.mark.timeout(700)
def test_all_of_it_on_the_gpu_of_this_machine(tmp_path: Path) -> None:
    """A machine without one says so, and has nothing to fail."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.gpu", "--json", str(tmp_path / "rows.json")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
