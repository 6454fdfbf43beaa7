"""List every message that a user can see: ``python -m tests.messages [FOLDER]``.

A message is text that is given to an exception written for users, to a fault of the input, to an
option's help, or to what prints, says or notes something. Names are followed to the texts that the
same function assigns to them; a value that is filled in is shown in braces.
"""

from __future__ import annotations

import ast
import sys
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "droplora_sweep"
BASE = "DropLoRASweepError"
FAULTS = {"Fault": 2, "Finding": 1, "InputError.of": 1, "broken_rule": 0}
"""Makers of a fault of the input, with the position of its problem."""
SPEAKERS = {"print", "say", "complain", "note", "warn", "warning"}
"""Functions and methods that show their first argument to a user."""
HELPERS = ("problem", "_note", "_notes", "_line", "_lines")
"""Endings of the names of functions that return, or yield, messages."""


@dataclass(frozen=True)
class Message:
    """One text that a user can see.

    Attributes:
        where: ``file:line``.
        kind: What shows it: ``fault``, ``error``, ``said`` or ``help``.
        text: What is shown; a filled-in value as ``{expression}``.
    """

    where: str
    kind: str
    text: str

    def __str__(self) -> str:
        """``file:line: text``, on one line."""
        return f"{self.where}: {' '.join(self.text.split())}"


def exceptions(trees: Sequence[ast.Module]) -> set[str]:
    """Names of the exceptions whose text is written for users."""
    bases = {
        node.name: {ast.unparse(base).rpartition(".")[2] for base in node.bases}
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    }
    found = {BASE}
    while more := {name for name, its in bases.items() if its & found} - found:
        found |= more
    return found


def texts(node: ast.expr, known: Mapping[str, list[ast.expr]]) -> Iterator[tuple[int, str]]:
    """Line and text of everything that an expression can be."""
    if isinstance(node, ast.Constant):
        if isinstance(node.value, str):
            yield node.lineno, node.value
    elif isinstance(node, ast.JoinedStr):
        parts = [_piece(part, known) for part in node.values]
        yield from ((node.lineno, "".join(pieces)) for pieces in product(*parts))
    elif isinstance(node, ast.IfExp):
        yield from texts(node.body, known)
        yield from texts(node.orelse, known)
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        rights = [text for _, text in texts(node.right, known)] or ["{…}"]
        for line, left in texts(node.left, known):
            yield from ((line, left + right) for right in rights)
    elif isinstance(node, ast.BoolOp):
        for value in node.values:
            yield from texts(value, known)
    elif isinstance(node, ast.Name):
        # Each name is followed once: a text may be made of an earlier one of the same name.
        inner = {name: its for name, its in known.items() if name != node.id}
        for value in known.get(node.id, ()):
            yield from texts(value, inner)
    elif isinstance(node, ast.List | ast.Tuple):
        for value in node.elts:
            yield from texts(value, known)


def _piece(part: ast.expr, known: Mapping[str, list[ast.expr]]) -> list[str]:
    """Texts that a part of an f-string can be: a value that is no text of the scope in braces."""
    if isinstance(part, ast.FormattedValue) and isinstance(part.value, ast.Name):
        found = [text for _, text in texts(part.value, known)]
        if found and len(found) == len(known[part.value.id]):
            return found
    assert isinstance(part, ast.Constant | ast.FormattedValue)
    value = part.value
    return [f"{{{ast.unparse(value)}}}" if isinstance(value, ast.expr) else str(value)]


def inside(scope: ast.AST) -> Iterator[ast.AST]:
    """Every node of a module or function that is in no function within it."""
    for child in ast.iter_child_nodes(scope):
        yield child
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from inside(child)


def assigned(scope: ast.AST) -> dict[str, list[ast.expr]]:
    """Expressions that each name of a scope is bound to; ``+=`` continues the one before."""
    found: dict[str, list[ast.expr]] = {}
    for node in inside(scope):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Name):
                    found.setdefault(target.id, []).append(node.value)
        elif isinstance(node, ast.NamedExpr):
            found.setdefault(node.target.id, []).append(node.value)
        elif isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
            before = found.get(node.target.id)
            if before and isinstance(node.op, ast.Add):
                before[-1] = ast.BinOp(before[-1], ast.Add(), node.value)
    return found


def shown_by(node: ast.AST, errors: set[str], *, is_helper: bool) -> Iterator[tuple[str, ast.expr]]:
    """Kind and expression of every message that a node is, or makes."""
    if isinstance(node, ast.Call):
        name = ast.unparse(node.func)
        name = name if name in FAULTS else name.rpartition(".")[2]
        position = FAULTS.get(name, 0)
        given = {keyword.arg: keyword.value for keyword in node.keywords}
        if name in FAULTS:
            problem = given.get("problem")
            if problem is None and len(node.args) > position:
                problem = node.args[position]
            if problem is not None:
                yield "fault", problem
        elif name in errors and node.args:
            yield "error", node.args[0]
        elif name in SPEAKERS and node.args:
            yield "said", node.args[0]
        elif name in ("Option", "Argument", "Typer") and "help" in given:
            yield "help", given["help"]
    elif is_helper and isinstance(node, ast.Return | ast.Yield) and node.value is not None:
        yield "said", node.value


def messages(folder: Path = PACKAGE) -> list[Message]:
    """Every message of the Python files in a folder, in their order."""
    trees = {
        path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(PACKAGE.rglob("*.py"))
    }
    errors = exceptions(list(trees.values()))
    found: dict[tuple[str, str], Message] = {}
    for path, tree in trees.items():
        if path.is_relative_to(folder):
            for line, kind, text in sorted(_of_scope(tree, {}, errors)):
                where = f"{path.relative_to(ROOT)}:{line}"
                found[where, text] = Message(where, kind, text)
    return list(found.values())


def _of_scope(
    scope: ast.AST, around: Mapping[str, list[ast.expr]], errors: set[str]
) -> Iterator[tuple[int, str, str]]:
    """Line, kind and text of each message of a module or function, and of functions within it."""
    known = {**around, **assigned(scope)}
    is_helper = isinstance(scope, ast.FunctionDef) and scope.name.endswith(HELPERS)
    for node in inside(scope):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _of_scope(node, known, errors)
            # Typer's options are defaults of parameters, or in their annotations.
            node = node.args
        for kind, expression in shown_by(node, errors, is_helper=is_helper):
            for line, text in texts(expression, known):
                if any(letter.isalpha() for letter in text):
                    yield line, kind, text


def main(folder: str = str(PACKAGE)) -> None:
    """Print every message."""
    sys.stdout.writelines(f"{message}\n" for message in messages(Path(folder).resolve()))


if __name__ == "__main__":
    main(*sys.argv[1:])
