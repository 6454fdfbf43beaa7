"""Check the words of docstrings, comments and messages; run by ``make check``.

A docstring begins with a noun phrase or an imperative: what it describes is then known after three
words. A few phrases are refused everywhere, since the field has a word for what they mean.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
FOLDERS = ("droplora_sweep", "cluster", "tests")
GUIDES = ("README.md", "search_spaces/README.md", "search_spaces/paper/README.md")
GUIDES += ("cluster/README.md",)

QUESTION = re.compile(r"(What|Whether|Who|Whom|Whose|How|When|Which|Where|Why)\b")

REFUSED = {
    r"tak(?:e|es|en|ing) up|took up": "resume, or start",
    r"for want of": "out of, or without",
    r"[Ss]omebody": "a user, or what it was",
    r"in this moment": "just now",
    r"is held by": "is already running on",
    r"barren": "failed",
    r"[Ll]ast words": "reason for the exit",
    r"[Vv]igil": "watchdog",
    r"[Hh]opeless": "futility",
    r"[Tt]old apart": "distinguished",
}
"""Phrases, and the words that take their place."""

EXCEPTIONS = {
    "droplora_sweep/spec/search.py": {"hopeless"},
    "tests/spec/test_search.py": {"hopeless"},
}
"""Phrases that a file may have: `hopeless` is what search spaces called futility."""


class Finding(NamedTuple):
    """A place whose words are to be changed."""

    path: str
    line: int
    problem: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.problem}"


def docstrings(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield the line and text of each docstring, those of attributes included."""
    for node in ast.walk(tree):
        if not isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        for statement in node.body:
            if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
                text = statement.value.value
                if isinstance(text, str):
                    yield statement.lineno, text


def check(path: Path) -> Iterator[Finding]:
    """Yield what is wrong with the words of a Python file or a guide."""
    name = path.relative_to(ROOT).as_posix()
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        for line, docstring in docstrings(ast.parse(text)):
            first = QUESTION.match(docstring.lstrip())
            if first is not None:
                problem = f"a docstring begins with {first[1]}, not with a noun or an imperative"
                yield Finding(name, line, problem)
        tokens = tokenize.generate_tokens(io.StringIO(text).readline)
        pieces = [
            (token.start[0], token.string)
            for token in tokens
            if token.type in (tokenize.STRING, tokenize.COMMENT)
        ]
    else:
        pieces = [(1, text)]
    for line, piece in pieces:
        for phrase, instead in REFUSED.items():
            for found in re.finditer(rf"\b(?:{phrase})\b", piece):
                if found[0] not in EXCEPTIONS.get(name, ()):
                    at = line + piece[: found.start()].count("\n")
                    yield Finding(name, at, f"{found[0]!r}: say {instead}")


def main() -> int:
    """Print every finding; 1 if there is one."""
    paths = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]
    paths = [path for path in paths if path != Path(__file__)]
    found = [one for path in (*paths, *(ROOT / guide for guide in GUIDES)) for one in check(path)]
    sys.stdout.writelines(f"{one}\n" for one in found)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
