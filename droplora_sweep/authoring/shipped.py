"""Search spaces that come with the package, listed and copied.

In a checkout they lie in ``search_spaces/`` beside the package; a wheel has the same folder inside
of it, where ``setup.py`` puts it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from droplora_sweep.errors import InputError, SweepError
from droplora_sweep.files import write_new

if TYPE_CHECKING:
    from collections.abc import Iterator

SCHEMA: Final = "schema.json"
QUICKSTART: Final = "quickstart"
_PACKAGE: Final = Path(__file__).parents[1]
_PLACES: Final = (_PACKAGE / "search_spaces", _PACKAGE.parent / "search_spaces")
OUTPUT: Final = "--output"
_PARTS: Final = "parts"
_MODELINE: Final = "# yaml-language-server: $schema="
"""Beginning of the comment that tells editors the file's schema."""
_PART: Final = re.compile(rf"{_PARTS}/[\w-]+\.yaml")
_TASK_FILES: Final = (".yaml", ".py")
_SENTENCE: Final = re.compile(r".+?[.?](?=\s|$)")


@dataclass(frozen=True)
class ShippedSpace:
    """One search space that is shipped.

    Attributes:
        name: Its path below ``search_spaces/`` without suffix, e.g. ``paper/table5``.
        path: Its file.
        question: First sentence of its comment.
    """

    name: str
    path: Path
    question: str


def shipped_folder() -> Path:
    """Return the folder of the shipped search spaces.

    Raises:
        SweepError: There is none, as in a package that was copied without them.
    """
    for place in _PLACES:
        if (place / SCHEMA).is_file():
            return place
    raise SweepError(f"{_PLACES[0]}: is missing; install the package again to have its files")


def shipped_spaces() -> tuple[ShippedSpace, ...]:
    """Return every shipped search space, those of the paper last."""
    folder = shipped_folder()
    files = [file for file in folder.rglob("*.yaml") if file.parent.name != _PARTS]
    files.sort(key=lambda file: (file.parent != folder, file.stem != QUICKSTART, file))
    return tuple(
        ShippedSpace(file.relative_to(folder).with_suffix("").as_posix(), file, _question(text))
        for file in files
        # The others are tasks that a search space names.
        if (text := file.read_text(encoding="utf-8")).startswith(_MODELINE)
    )


def find_space(name: str) -> ShippedSpace:
    """Return a shipped search space by its name.

    Raises:
        InputError: None has it.
    """
    spaces = shipped_spaces()
    wanted = name.removeprefix("search_spaces/").removesuffix(".yaml")
    found = [one for one in spaces if wanted in (one.name, one.path.stem)]
    if not found:
        known = ", ".join(one.name for one in spaces)
        raise InputError.of("NAME", f"must be one of {known}, got {name}")
    return found[0]


def copy_space(space: ShippedSpace, output: Path) -> tuple[Path, ...]:
    """Write a shipped search space to a new file, and the files that it names beside it.

    The copy names its schema by the place where it is installed, and in its comment itself. A file
    beside it that is there already with the same content is left as it is.

    Returns:
        The files that were written.

    Raises:
        InputError: A file is there already, or cannot be written.
    """
    text = space.path.read_text(encoding="utf-8")
    copies: dict[Path, str] = {output: _rewritten(text, space, output)}
    for name in _beside(space, text):
        copy = output.parent / name
        content = (space.path.parent / name).read_text(encoding="utf-8")
        if not copy.is_file() or copy.read_text(encoding="utf-8") != content:
            copies[copy] = content
    for file in copies:
        if file.exists():
            raise InputError.of(OUTPUT, f"must be new, got {file}, which exists")
    for file, content in copies.items():
        write_new(file, content, OUTPUT)
    return tuple(copies)


def schema_line() -> str:
    """Return the comment by which editors find the schema, wherever the file lies."""
    return f"{_MODELINE}{(shipped_folder() / SCHEMA).resolve().as_uri()}"


def _rewritten(text: str, space: ShippedSpace, output: Path) -> str:
    first, _, rest = text.partition("\n")
    assert first.startswith(_MODELINE), "every shipped file names its schema first"
    renamed = rest.replace(f"search_spaces/{space.name}.yaml", str(output))
    if space.path.parent != shipped_folder():
        folder = Path(space.name).parent.as_posix()
        renamed = renamed.replace(f"search_spaces/{folder}/", f"{output.parent.as_posix()}/")
    return f"{schema_line()}\n{renamed}"


def _beside(space: ShippedSpace, text: str) -> tuple[str, ...]:
    """Return the files that a search space needs, by their paths from its folder.

    They are the parts that it extends, and the task files that it names with their functions.
    """
    folder = Path(space.name).parent.as_posix()
    tasks = re.findall(rf"lm_eval: search_spaces/{re.escape(folder)}/([\w-]+)\.yaml", text)
    found = [*_PART.findall(text), *(f"{one}{suffix}" for one in tasks for suffix in _TASK_FILES)]
    return tuple(name for name in dict.fromkeys(found) if (space.path.parent / name).is_file())


def _question(text: str) -> str:
    comment = " ".join(_first_comment(text))
    found = _SENTENCE.match(comment)
    return found.group() if found else comment


def _first_comment(text: str) -> Iterator[str]:
    """Yield the lines of the first paragraph of the comment below the schema's line."""
    for line in text.splitlines()[1:]:
        content = line.removeprefix("#").strip()
        if not line.startswith("#") or not content:
            return
        yield content
