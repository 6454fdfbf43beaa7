"""A virtual environment that has some installed packages, what they require, and nothing else.

Made of links in a moment, it shows what runs where the others are not installed.
"""

from __future__ import annotations

import re
import venv
from collections import defaultdict
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def bare_environment(folder: Path, packages: Iterable[str]) -> Path:
    """Make the environment, and return its Python.

    Args:
        folder: Folder of the environment, which is new.
        packages: Names of installed distributions.
    """
    venv.create(folder, symlinks=True)
    [site] = folder.glob("lib/python3*/site-packages")
    owners: dict[str, list[metadata.Distribution]] = defaultdict(list)
    for one in required_by(packages):
        for top in {path.parts[0] for path in one.files or () if _is_inside(path)}:
            owners[top].append(one)
    for top, sharing in owners.items():
        source = Path(str(sharing[0].locate_file(top)))
        if len(sharing) == 1 or not source.is_dir():
            _link(source, site / top)
            continue
        # A folder that several distributions fill.
        (site / top).mkdir()
        for one in sharing:
            for path in one.files or ():
                if path.parts[0] == top and len(path.parts) > 1:
                    inner = Path(*path.parts[:2])
                    _link(Path(str(one.locate_file(inner))), site / inner)
    return folder / "bin" / "python"


def required_by(packages: Iterable[str]) -> list[metadata.Distribution]:
    """Return the distributions of these names, and what they require without extras."""
    found: dict[str, metadata.Distribution] = {}
    pending = list(packages)
    while pending:
        name = pending.pop()
        key = re.sub(r"[-_.]+", "-", name).lower()
        if key in found:
            continue
        try:
            found[key] = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            # Required of other systems or versions alone.
            continue
        needed = (line for line in found[key].requires or () if "extra ==" not in line)
        pending += [re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0] for line in needed]
    return list(found.values())


def _is_inside(path: metadata.PackagePath) -> bool:
    return path.parts[0] not in ("..", "__pycache__")


def _link(source: Path, target: Path) -> None:
    if source.exists() and not target.exists():
        target.symlink_to(source)
