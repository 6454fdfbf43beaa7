"""The wheel: all that a sweep needs, and nothing that made the models that it comes with."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from droplora_sweep.ledger.reader import Ledger
from droplora_sweep.records.trial import SweepOutcome

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "droplora_sweep"
SPACES = ROOT / "search_spaces"
LEFT_OUT = PACKAGE / "models" / "pretraining"
BUILD = "import sys; from setuptools.build_meta import build_wheel; build_wheel(sys.argv[1])"
BUILD_SOURCE = BUILD.replace("build_wheel", "build_sdist")


def built(folder: Path, program: str) -> None:
    """Build from a copy of the repository, into a folder."""
    checkout = folder / "checkout"
    no_caches = shutil.ignore_patterns("__pycache__")
    for source in (PACKAGE, SPACES):
        shutil.copytree(source, checkout / source.name, ignore=no_caches)
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, checkout)
    _build(checkout, folder, program)


def _build(checkout: Path, folder: Path, program: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", program, str(folder)],
        cwd=checkout,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def names_in(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel that is built from a copy of the repository."""
    folder = tmp_path_factory.mktemp("wheel")
    built(folder, BUILD)
    [file] = folder.glob("droplora_sweep-*.whl")
    return file


@pytest.fixture(scope="module")
def in_wheel(wheel: Path) -> set[str]:
    """Names of the files in it."""
    return names_in(wheel)


def test_every_module_but_those_that_made_the_models_is_in_it(in_wheel: set[str]) -> None:
    modules = {
        str(file.relative_to(ROOT))
        for file in PACKAGE.rglob("*.py")
        if not file.is_relative_to(LEFT_OUT)
    }
    functions = {f"{PACKAGE.name}/{file.relative_to(ROOT)}" for file in SPACES.rglob("*.py")}
    assert {name for name in in_wheel if name.endswith(".py")} == modules | functions


def test_what_is_read_at_run_time_is_in_it(in_wheel: set[str]) -> None:
    read = {
        str(file.relative_to(ROOT))
        for file in PACKAGE.rglob("*")
        if file.is_file() and file.suffix not in (".py", ".pyc")
    }
    spaces = {
        f"{PACKAGE.name}/{file.relative_to(ROOT)}"
        for file in (*SPACES.rglob("*.yaml"), SPACES / "schema.json")
    }
    shipped = {name for name in in_wheel if ".dist-info/" not in name}
    assert {name for name in shipped if not name.endswith(".py")} == read | spaces


@pytest.mark.slow
def test_a_wheel_of_the_source_distribution_is_the_same(in_wheel: set[str], tmp_path: Path) -> None:
    built(tmp_path, BUILD_SOURCE)
    [archive] = tmp_path.glob("droplora_sweep-*.tar.gz")
    shutil.unpack_archive(archive, tmp_path / "source", filter="data")
    [source] = (tmp_path / "source").iterdir()
    _build(source, tmp_path, BUILD)
    [wheel] = tmp_path.glob("droplora_sweep-*.whl")
    assert names_in(wheel) == in_wheel


def test_nothing_in_it_needs_what_is_left_out() -> None:
    left_out = f"{PACKAGE.name}.models.{LEFT_OUT.name}"
    users = [
        str(file.relative_to(PACKAGE))
        for file in PACKAGE.rglob("*.py")
        if not file.is_relative_to(LEFT_OUT) and left_out in file.read_text()
    ]
    assert users == []


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of a new environment in which the wheel is installed.

    Its dependencies are those of this environment, which it sees: nothing is downloaded. Where the
    package itself is installed here from its checkout, the wheel's comes first.
    """
    place = tmp_path_factory.mktemp("environment")
    venv.create(place, with_pip=False, symlinks=True)
    packages = place / "lib" / f"python{sysconfig.get_python_version()}" / "site-packages"
    own = Path(sysconfig.get_paths()["purelib"])
    (packages / "dependencies.pth").write_text(f"{own}\n")
    pip = [sys.executable, "-m", "pip", "--python", str(place / "bin" / "python")]
    options = ["install", "--no-deps", "--no-index", "--quiet", str(wheel)]
    done = subprocess.run(
        [*pip, *options], cwd=place, env=_environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return place / "bin"


def _environment() -> dict[str, str]:
    """This one's, without the checkout that the tests import."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def _installed_command(installed: Path, folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        [str(installed / "droplora-sweep"), *arguments],
        cwd=folder,
        env=_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_an_installed_wheel_lists_and_copies_its_search_spaces(
    installed: Path, tmp_path: Path
) -> None:
    assert "paper/table5" in _installed_command(installed, tmp_path, "examples")
    _installed_command(installed, tmp_path, "examples", "quickstart", "--output", "mine.yaml")
    text = (tmp_path / "mine.yaml").read_text()
    environment = installed.parent.resolve()
    assert text.startswith(f"# yaml-language-server: $schema=file://{environment}/")
    assert text.splitlines()[1:] == [
        line.replace("search_spaces/quickstart.yaml", "mine.yaml")
        for line in (SPACES / "quickstart.yaml").read_text().splitlines()[1:]
    ]
    assert _installed_command(installed, tmp_path, "validate", "mine.yaml") == "mine.yaml: valid\n"


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(2400)
def test_the_demo_of_an_installed_wheel_runs_as_that_of_the_repository(
    installed: Path, tmp_path: Path
) -> None:
    output = _installed_command(installed, tmp_path, "demo", "--address", "local")
    assert "What to use" in output
    record = Ledger.open(tmp_path / "results", "quickstart").record
    assert record.outcome is SweepOutcome.COMPLETE
    assert len(record.confirm_trials) >= 6
    assert record.spec["search"]["num_trials"] == 12
