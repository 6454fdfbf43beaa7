"""Check that names of a sweep's files and folders stand in `records.layout` alone."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import droplora_sweep
from droplora_sweep.records import layout

PACKAGE = Path(droplora_sweep.__file__).parent
NAMES = {value for key, value in vars(layout).items() if key.isupper() and isinstance(value, str)}
FILES = {name for name in NAMES if "." in name}
FOLDERS = NAMES - FILES
OTHERS = {("models/pretraining/card.py", "README.md")}
"""Files of the same name that are none of a sweep's."""


def spelled(tree: ast.AST) -> set[str]:
    """Names of a sweep's files and folders that a module spells itself.

    A file's name is known by itself; a folder's, which is a common word, by its use in a path:
    ``root / "trials"``, ``f"{root}/trials"`` or ``path.parts[1] == "trials"``.
    """
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and node.value in FILES:
            found.add(node.value)
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
            found |= texts(node.right) & FOLDERS
        elif isinstance(node, ast.JoinedStr):
            pieces = [text for part in node.values for text in texts(part)]
            found |= {
                name
                for name in FOLDERS
                if any(re.search(rf"(^|/){name}/|/{name}(/|$)", piece) for piece in pieces)
            }
        elif isinstance(node, ast.Compare) and ".parts" in ast.unparse(node):
            found |= {text for one in ast.walk(node) for text in texts(one)} & FOLDERS
    return found


def texts(node: ast.AST) -> set[str]:
    is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
    return {node.value} if is_text else set()  # type: ignore[attr-defined]


def test_no_other_module_names_a_file_of_a_sweep() -> None:
    found = set()
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).as_posix()
        if name != "records/layout.py":
            tree = ast.parse(path.read_text(encoding="utf-8"))
            found |= {(name, text) for text in spelled(tree)} - OTHERS
    assert found == set()


def test_the_check_knows_a_name_by_its_use() -> None:
    code = """
open(root / "driver.log")
folder = root / "trials" / name
key = f"{sweep}/events/{seq:08d}"
is_of_workers = key.parts[1] == "snapshots"
shown = trial.spec["adapter"]["method"]
"""
    assert spelled(ast.parse(code)) == {"driver.log", "trials", "events", "snapshots"}
