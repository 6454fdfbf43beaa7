"""Programs of other projects that tests run, where this machine has them."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

OTHER_NAMES = {"chromium": ("chromium-browser", "google-chrome")}


def find_program(name: str) -> str | None:
    """The path of a program, also under its other names, of this environment, or of a server."""
    servers = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    folders = [Path(sys.executable).parent, *servers, Path("/usr/sbin")]
    found = map(shutil.which, (name, *OTHER_NAMES.get(name, ())))
    besides = (shutil.which(name, path=folder) for folder in folders)
    return next(filter(None, (*found, *besides)), None)
