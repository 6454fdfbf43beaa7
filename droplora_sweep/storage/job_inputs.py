"""Files that a submitted job brought along, at one path on every node of the cluster.

Ray unpacks a job's files on each node that runs a process of it, below a folder that is another on
every cluster. They are copied from there to a folder that their content names, so that a sweep's
ledger has a path that is still right when the sweep is resumed by another job.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import tempfile
from pathlib import Path

from droplora_sweep.errors import SweepError
from droplora_sweep.files import disk_faults_named

FOLDER = "job_inputs"
"""Of a job's files, beside the package."""
MANIFEST = "manifest.json"
MARK = "job_inputs:"
"""Beginning of a manifest's value that is a path below the place of the inputs."""
ROOT = Path("/tmp")
"""It is the same on all nodes, unlike folders of users and of temporary files."""


def brought_along() -> Path | None:
    """Return the folder of what this job brought along; None where it is none, or brought nothing.

    A process of the job runs the package that the job brought.
    """
    folder = Path(__file__).parents[2] / FOLDER
    return folder if (folder / MANIFEST).is_file() else None


def place_inputs(folder: Path | None = None, root: Path = ROOT) -> Path | None:
    """Copy what this job brought along to its place on this node, unless it is there.

    Args:
        folder: Folder with the files; `brought_along` where None.
        root: Folder below which each user has a folder of his own.

    Returns:
        The place; None where there is nothing to place.

    Raises:
        SweepError: It cannot be written, or another user could have changed what is there.
    """
    folder = folder or brought_along()
    if folder is None:
        return None
    digest = json.loads((folder / MANIFEST).read_text())["digest"]
    own = root / f"droplora-inputs-{os.getuid()}"
    place = own / digest
    with disk_faults_named(own):
        own.mkdir(mode=0o700, exist_ok=True)
        _require_own(own)
        if place.is_dir():
            return place
        scratch = Path(tempfile.mkdtemp(prefix=".", dir=own))
        try:
            shutil.copytree(folder / digest, scratch / digest)
            # Another process of this node may have been quicker.
            if not place.is_dir():
                (scratch / digest).rename(place)
        except OSError:
            if not place.is_dir():
                raise
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    return place


def settings_of_inputs(place: Path) -> list[str]:
    """Return ``field=value`` of each field of the sweep that names something brought along.

    Args:
        place: Result of `place_inputs`.
    """
    folder = brought_along()
    assert folder is not None, "it was placed"
    fields = json.loads((folder / MANIFEST).read_text())["fields"]
    return [f"{field}={json.dumps(_placed(value, place))}" for field, value in fields.items()]


def _placed(value: str | list[str], place: Path) -> str | list[str]:
    if isinstance(value, list):
        return [str(_placed(one, place)) for one in value]
    return f"{place}/{value.removeprefix(MARK)}" if value.startswith(MARK) else value


def _require_own(folder: Path) -> None:
    """Refuse a folder that another user made, or can write to, in a place open to all.

    Raises:
        SweepError: It is one.
    """
    status = folder.lstat()
    mode = stat.S_IMODE(status.st_mode)
    if stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not mode & 0o022:
        return
    raise SweepError(
        f"{folder}: must be a folder of user {os.getuid()} that no other can write to, got mode "
        f"{mode:o} of user {status.st_uid}; remove it"
    )
