"""Fetched data on this machine, by the sha256 of their content.

``content/<sha256>/<name>`` is a file, or a folder of files. ``urls/<sha256 of the URL>.json`` says
which content a URL had, and what its server says to tell whether that has changed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from droplora_sweep.files import disk_faults_named, make_private_directory, replace_file

if TYPE_CHECKING:
    from collections.abc import Iterator

PIN_PREFIX: Final = "sha256:"
_CHUNK_BYTES: Final = 1 << 20


@dataclass(frozen=True)
class Known:
    """The content that a URL had when it was fetched last.

    Attributes:
        pin: ``sha256:`` and the digest of its content.
        stamp: Signs of that content, by the name that the server has for each.
    """

    pin: str
    stamp: dict[str, str]


def cache_root() -> Path:
    """Return the folder of fetched data; ``XDG_CACHE_HOME`` moves it."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "droplora-sweep/data"


class Cache:
    """Fetched data below one folder; processes may share it."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def path_of(self, pin: str) -> Path | None:
        """Return the file or folder of this content; None where it is not here."""
        folder = self._folder(pin)
        return next(iter(sorted(folder.iterdir())), None) if folder.is_dir() else None

    def known(self, url: str) -> Known | None:
        """Return what the URL had, if that is still here."""
        try:
            content = json.loads(self._note(url).read_bytes())
            known = Known(str(content["pin"]), dict(content["stamp"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return known if self.path_of(known.pin) is not None else None

    @contextlib.contextmanager
    def new_folder(self) -> Iterator[Path]:
        """Yield an empty folder to fetch into, which is removed at the end."""
        folder = self._root / f".fetching-{uuid.uuid4().hex[:12]}"
        with disk_faults_named(folder):
            make_private_directory(folder)
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)

    def keep(self, url: str, fetched: Path, stamp: dict[str, str]) -> str:
        """Take what was fetched, the only thing in its folder, for a URL's content.

        Returns:
            Its pin.
        """
        pin = PIN_PREFIX + digest_of(fetched)
        place = self._folder(pin)
        for path in (fetched, *fetched.rglob("*")):
            path.chmod(0o700 if path.is_dir() else 0o600)
        if not place.is_dir():
            make_private_directory(place.parent)
            # Another process may have had the same content a moment before.
            with contextlib.suppress(OSError):
                fetched.parent.rename(place)
        note = self._note(url)
        make_private_directory(note.parent)
        replace_file(note, json.dumps(asdict(Known(pin, stamp))).encode())
        return pin

    def _folder(self, pin: str) -> Path:
        return self._root / "content" / pin.removeprefix(PIN_PREFIX)

    def _note(self, url: str) -> Path:
        return self._root / "urls" / f"{hashlib.sha256(url.encode()).hexdigest()}.json"


def digest_of(path: Path) -> str:
    """Return the sha256, in hex, of a file, or of the names and digests of a folder's files."""
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file())
        lines = [f"{file.relative_to(path).as_posix()}\0{digest_of(file)}\n" for file in files]
        return hashlib.sha256("".join(lines).encode()).hexdigest()
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
