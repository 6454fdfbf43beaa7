"""Commands that plan, read or ask load no heavy library that they have no use for.

Imports stand at the top of a module. One inside a function keeps a library that takes time away
from those who only import the module: it may name such a library, or a module of ours that loads
one. A command of `cli/` may import any module of ours inside it, since no other command needs it.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import tarfile
from importlib.util import resolve_name
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import droplora_sweep

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(droplora_sweep.__file__).parent
ROOT = PACKAGE.parent
NAME = PACKAGE.name

HEAVY = {
    "deepspeed",
    "matplotlib",
    "mlflow",
    "pandas",
    "peft",
    "ray",
    "scipy",
    "sklearn",
    "torch",
    "transformers",
}
SLOW = HEAVY | {
    "bitsandbytes",
    "datasets",
    "huggingface_hub",
    "jinja2",
    "lm_eval",
    "optuna",
    "pyarrow",
    "rouge_score",
    "sacrebleu",
    "safetensors",
    "vllm",
}
"""Libraries that an import inside a function may keep away: they take time, or may be missing."""

SPACE = str(ROOT / "search_spaces" / "quickstart.yaml")
STATISTICS = {"scipy"}
COMMANDS: dict[str, tuple[list[str], int, set[str]]] = {
    "help": (["--help"], 0, set()),
    "no command": ([], 0, set()),
    "examples": (["examples"], 0, set()),
    "schema": (["schema"], 0, set()),
    "validate": (["validate", SPACE], 0, set()),
    "plan": (["plan", SPACE], 0, set()),
    "data": (["data", SPACE], 0, {"pandas", "scipy", "sklearn", "torch", "transformers"}),
    "doctor, a file with a fault": (["doctor", SPACE, "--set", "adapter.rnk=3"], 2, set()),
    "run, a file with a fault": (["run", SPACE, "--set", "adapter.rnk=3"], 2, set()),
    "submit, nothing to run it": (["submit", SPACE, "--storage", "/results"], 2, {"ray"}),
    "submit, a file with a fault": (["submit", SPACE, "--set", "adapter.rnk=3"], 2, set()),
    "resume, no such sweep": (["resume", "unknown"], 1, set()),
    "rerun, no such trial": (["rerun", "finished", "unknown"], 1, set()),
    "stop": (["stop", "finished"], 1, set()),
    "stop-trial": (["stop-trial", "finished", "t0002-92b4f977"], 1, set()),
    "pin": (["pin", "finished", "t0002-92b4f977"], 1, set()),
    "clone": (["clone", "finished", "t0002-92b4f977"], 1, set()),
    "retry, of a complete trial": (["retry", "finished", "t0002"], 2, set()),
    "diff": (["diff", "finished", "t0000", "t0002"], 0, STATISTICS),
    "status": (["status", "finished"], 0, STATISTICS),
    "status, no confirmation yet": (["status", "interrupted"], 0, set()),
    "watch, no such sweep": (["watch", "unknown"], 2, set()),
    "status, as it changes": (["status", "interrupted", "--watch"], 0, set()),
    "best": (["best", "finished"], 0, STATISTICS),
    "best, as JSON": (["best", "finished", "--json"], 0, STATISTICS),
    "compare": (
        ["compare", "finished", "quickstart"],
        0,
        HEAVY - {"matplotlib", "ray", "torch", "transformers"},
    ),
    "report": (["report", "finished"], 0, HEAVY - {"mlflow", "ray", "torch", "transformers"}),
    "export": (["export", "finished", "t0002-92b4f977"], 0, STATISTICS),
}
"""Arguments, exit code, and heavy libraries that the command has a use for."""
WITHOUT_STORAGE = {
    *("", "--help", "data", "doctor", "examples", "schema", "validate", "plan", "run", "submit"),
}

PROGRAM = f"""
import sys
from {NAME}.cli import main

try:
    main(sys.argv[1:])
finally:
    with open("loaded", "w") as file:
        print(*[name for name in {sorted(SLOW)} if name in sys.modules], file=file)
"""


def loaded_by(arguments: list[str], folder: Path) -> tuple[int, set[str]]:
    """Exit code of a command in a fresh interpreter, and what it had loaded at its end."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, set((folder / "loaded").read_text().split())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder whose `results` hold the sweeps of an earlier version."""
    here = tmp_path_factory.mktemp("light")
    with tarfile.open(ROOT / "tests" / "earlier" / "results.tar.xz") as archive:
        archive.extractall(here / "results", filter="data")
    return here


@pytest.mark.parametrize("case", COMMANDS)
def test_a_command_loads_no_heavy_library_that_it_does_not_use(case: str, folder: Path) -> None:
    arguments, code, used = COMMANDS[case]
    command = arguments[0] if arguments else ""
    storage = [] if command in WITHOUT_STORAGE else ["--storage", "results"]
    output = ["--output", "exported"] if command == "export" else []
    ended, loaded = loaded_by([*arguments, *storage, *output], folder)
    assert ended == code
    assert loaded & HEAVY <= used


@pytest.mark.slow
def test_publishing_loads_neither_torch_nor_ray(folder: Path) -> None:
    ended, loaded = loaded_by(["sync", "finished", "--storage", "results"], folder)
    assert ended == 0
    assert "mlflow" in loaded
    assert loaded.isdisjoint({"ray", "torch", "transformers"})


@pytest.mark.slow
def test_the_doctor_loads_torch_in_a_process_of_its_own_alone(folder: Path) -> None:
    # Its exit code is this machine's.
    _, loaded = loaded_by(["doctor", SPACE, "--address", "local"], folder)
    assert loaded.isdisjoint(HEAVY)


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(statement: ast.Import | ast.ImportFrom, path: Path) -> set[str]:
    """Absolute names of what an import statement may load."""
    if isinstance(statement, ast.Import):
        return {alias.name for alias in statement.names}
    name = statement.module or ""
    if statement.level:
        package = ".".join(path.parent.relative_to(ROOT).parts)
        name = resolve_name("." * statement.level + name, package)
    return {name, *(f"{name}.{alias.name}" for alias in statement.names)}


def statements(node: ast.AST, *, in_functions: bool) -> Iterator[ast.Import | ast.ImportFrom]:
    """Import statements inside functions, or those that run when the module is imported."""
    for child in ast.iter_child_nodes(node):
        is_function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        if isinstance(child, ast.Import | ast.ImportFrom):
            if not in_functions:
                yield child
        elif is_function and in_functions:
            for inner in ast.walk(child):
                if isinstance(inner, ast.Import | ast.ImportFrom):
                    yield inner
        elif not is_function:
            yield from statements(child, in_functions=in_functions)


class Imports:
    """Imports of the package's modules, as they are written."""

    def __init__(self) -> None:
        files = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}
        self._trees = {name: ast.parse(path.read_text("utf-8")) for name, path in files.items()}
        self._files = files
        self._slow: dict[str, bool] = {}

    def is_slow(self, name: str) -> bool:
        """True of a library that takes time, and of a module of ours whose import loads one."""
        if name.partition(".")[0] != NAME:
            return name.partition(".")[0] in SLOW
        if name not in self._trees:
            return False
        if name not in self._slow:
            self._slow[name] = False  # of a module that is being looked at already
            path, tree = self._files[name], self._trees[name]
            found = [
                each
                for statement in statements(tree, in_functions=False)
                for each in imported(statement, path)
            ]
            self._slow[name] = any(map(self.is_slow, found))
        return self._slow[name]

    def needless(self) -> Iterator[str]:
        """Import statements inside functions that keep nothing away."""
        for name, tree in self._trees.items():
            path = self._files[name]
            for statement in statements(tree, in_functions=True):
                found = imported(statement, path)
                is_ours = any(each.partition(".")[0] == NAME for each in found)
                is_of_command = is_ours and path.parent.name == "cli"
                if not is_of_command and not any(map(self.is_slow, found)):
                    where = f"{path.relative_to(ROOT)}:{statement.lineno}"
                    yield f"{where}: {ast.unparse(statement)}"


def test_only_what_takes_time_is_imported_inside_a_function() -> None:
    assert list(Imports().needless()) == []


def test_the_check_tells_light_modules_from_slow_ones() -> None:
    imports = Imports()
    assert imports.is_slow(f"{NAME}.search.study")
    assert imports.is_slow("ray.train")
    assert not imports.is_slow(f"{NAME}.spec.search")
    assert not imports.is_slow("json")
    tree = ast.parse("import a\ndef f():\n    import b\n    def g():\n        import c\n")
    inside = [ast.unparse(each) for each in statements(tree, in_functions=True)]
    assert inside == ["import b", "import c"]
