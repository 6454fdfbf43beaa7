"""The wheel: all that a sweep needs, and nothing that made the models that it comes with."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "droplora_sweep"
LEFT_OUT = PACKAGE / "models" / "pretraining"
BUILD = "import sys; from setuptools.build_meta import build_wheel; build_wheel(sys.argv[1])"


@pytest.fixture(scope="module")
def in_wheel(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Names of the files in a wheel that is built from a copy of the repository."""
    folder = tmp_path_factory.mktemp("wheel")
    checkout = folder / "checkout"
    no_caches = shutil.ignore_patterns("__pycache__")
    shutil.copytree(PACKAGE, checkout / PACKAGE.name, ignore=no_caches)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, checkout)
    built = subprocess.run(
        [sys.executable, "-c", BUILD, str(folder)],
        cwd=checkout,
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    [wheel] = folder.glob("droplora_sweep-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_every_module_but_those_that_made_the_models_is_in_it(in_wheel: set[str]) -> None:
    modules = {
        str(file.relative_to(ROOT))
        for file in PACKAGE.rglob("*.py")
        if not file.is_relative_to(LEFT_OUT)
    }
    assert {name for name in in_wheel if name.endswith(".py")} == modules


def test_what_is_read_at_run_time_is_in_it(in_wheel: set[str]) -> None:
    read = {
        str(file.relative_to(ROOT))
        for file in PACKAGE.rglob("*")
        if file.is_file() and file.suffix not in (".py", ".pyc")
    }
    shipped = {name for name in in_wheel if ".dist-info/" not in name}
    assert {name for name in shipped if not name.endswith(".py")} == read


def test_nothing_in_it_needs_what_is_left_out() -> None:
    left_out = f"{PACKAGE.name}.models.{LEFT_OUT.name}"
    users = [
        str(file.relative_to(PACKAGE))
        for file in PACKAGE.rglob("*.py")
        if not file.is_relative_to(LEFT_OUT) and left_out in file.read_text()
    ]
    assert users == []
