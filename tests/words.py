"""Check the words of docstrings, comments, messages and guides; run by ``make check``.

A few phrases are refused, since the field has a word for what they mean. A docstring begins with a
noun phrase or an imperative, and so not with a question word.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
FOLDERS = ("droplora_sweep", "cluster", "tests", "search_spaces")

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

QUESTION = re.compile(r"(?:What|Whether|Who|Whose|How|When|Where|Which|If)\b")


def questions(name: str, text: str) -> Iterator[str]:
    """Yield a line for each docstring that begins with a question word.

    Docstrings of attributes count too: a text that stands alone below an assignment.

    Args:
        name: Path of the Python file from the repository's root.
        text: Its content.
    """
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Expr(value=ast.Constant(value=str() as docstring)):
                found = QUESTION.match(docstring.lstrip())
                if found:
                    yield (
                        f"{name}:{node.lineno}: {found[0]!r}: begin with a noun phrase, or an "
                        "imperative such as Return"
                    )


def findings(name: str, text: str) -> Iterator[str]:
    """Yield a line for each refused phrase in a Python file's comments and texts, or in a guide.

    Args:
        name: Path of the file from the repository's root.
        text: Its content.
    """
    pieces = [(1, text)]
    if name.endswith(".py"):
        tokens = tokenize.generate_tokens(io.StringIO(text).readline)
        kinds = (tokenize.STRING, tokenize.COMMENT)
        pieces = [(token.start[0], token.string) for token in tokens if token.type in kinds]
    for line, piece in pieces:
        for phrase, instead in REFUSED.items():
            for found in re.finditer(rf"\b(?:{phrase})\b", piece):
                if found[0] not in EXCEPTIONS.get(name, ()):
                    at = line + piece[: found.start()].count("\n")
                    yield f"{name}:{at}: {found[0]!r}: say {instead}"


def main() -> int:
    """Print every finding; return 1 if there is one."""
    paths = [ROOT / "README.md"]
    for folder in FOLDERS:
        paths += [*sorted((ROOT / folder).rglob("*.py")), *sorted((ROOT / folder).rglob("*.md"))]
    names = [path.relative_to(ROOT).as_posix() for path in paths]
    found = []
    for name in names:
        text = (ROOT / name).read_text(encoding="utf-8")
        if name not in ("tests/words.py", "tests/test_words.py"):
            found += findings(name, text)
        if name.endswith(".py"):
            found += questions(name, text)
    sys.stdout.writelines(f"{line}\n" for line in found)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
