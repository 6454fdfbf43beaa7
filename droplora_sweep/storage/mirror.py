"""A folder on this machine that mirrors a URL: where a driver works while the URL is the truth.

Of each sweep the URL holds what its folder holds, except that every event is an object of its own,
``<sweep>/events/<seq>``, since object stores cannot append. Files are uploaded before the event
that mentions them, and an event has happened once its object is there. What can be made again from
the events (Optuna's study, MLflow's store) stays on this machine.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from droplora_sweep.errors import SweepError
from droplora_sweep.files import disk_faults_named, make_private_directory, replace_file
from droplora_sweep.publishing import MANIFEST, verify_folder

from .object_store import ObjectStore, is_url
from .remote_lease import RemoteLease

if TYPE_CHECKING:
    from collections.abc import Iterator

URL_FILE = ".url"
"""Names, in a mirror's root, what it mirrors."""
EVENT_LOG = "events.jsonl"
EVENTS = "events"
LOG = "driver.log"
_OF_THIS_MACHINE = (EVENT_LOG, LOG, "driver.lease", "stop.request", "study.db")


def local_storage(storage: str) -> Path:
    """The folder to work in: the storage itself, or the mirror of a URL, made where missing.

    Raises:
        SweepError: The URL's kind is not known, or the mirror cannot be made.
    """
    if not is_url(storage):
        return Path(storage)
    ObjectStore(storage)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    digest = hashlib.sha256(storage.rstrip("/").encode()).hexdigest()
    root = cache / "droplora-sweep" / digest[:16]
    with disk_faults_named(root):
        make_private_directory(root)
        replace_file(root / URL_FILE, storage.encode())
    return root


def mirror_of(root: Path) -> Mirror | None:
    """The mirror whose root a storage folder is; None for a folder that mirrors nothing."""
    file = root / URL_FILE
    return Mirror(root, ObjectStore(file.read_text())) if file.is_file() else None


class Mirror:
    """Carries sweeps from a folder to the object store it mirrors, and back."""

    def __init__(self, root: Path, store: ObjectStore) -> None:
        self._root = root
        self._store = store
        self._pushed: dict[str, tuple[int, int]] = {}

    def lease(self, sweep: str) -> RemoteLease:
        """Take the right to write to a sweep, against drivers of other machines.

        Raises:
            SweepError: Another driver holds it.
        """
        return RemoteLease(self._store, sweep)

    def names(self) -> list[str]:
        """Names of the sweeps under the URL, sorted."""
        keys = map(PurePosixPath, self._store.sizes(""))
        return sorted({key.parts[0] for key in keys if key.match(f"*/{EVENTS}/*")})

    def pull(self, sweep: str) -> None:
        """Bring a sweep's folder to what the URL holds.

        Raises:
            SweepError: The store does not answer, an event is missing, or what a manifest pins is
                not what was downloaded.
        """
        sizes = self._store.sizes(sweep)
        events = [key for key in sizes if key.startswith(f"{sweep}/{EVENTS}/")]
        if not events:
            return
        expected = [self._event_key(sweep, seq) for seq in range(len(events))]
        for key, wanted in zip(events, expected, strict=True):
            if key != wanted:
                raise SweepError(f"{self._store.url}: must hold {wanted}, got {key} next")
        for key, size in sizes.items():
            if key not in events and not key.startswith(f"{sweep}/leases/"):
                self._download(key, size)
        self._verify(sweep)
        log = b"".join(map(self._store.get, events))
        self._write(self._contained(f"{sweep}/{EVENT_LOG}"), log)

    def push_files(self, sweep: str, *, with_log: bool = False) -> None:
        """Upload every file of a sweep that is new or has changed; remove what is gone here.

        Args:
            sweep: Its name.
            with_log: Also the driver's log, which grows all the time.
        """
        present = dict(self._files(sweep, with_log=with_log))
        for key, state in present.items():
            if self._pushed.get(key) != state:
                self._store.put(key, (self._root / key).read_bytes())
                self._pushed[key] = state
        for key in self._pushed.keys() - present.keys():
            # A checkpoint that newer ones replace.
            self._store.delete(key)
            del self._pushed[key]

    def push_event(self, sweep: str, seq: int, line: bytes) -> None:
        """Upload one event; it has happened when this returns.

        Raises:
            SweepError: Another driver has written an event of this number.
        """
        key = self._event_key(sweep, seq)
        if self._store.exists(key):
            raise SweepError(f"{self._store.url}: {key} must be new; another driver has written it")
        self._store.put(key, line)

    @staticmethod
    def _event_key(sweep: str, seq: int) -> str:
        return f"{sweep}/{EVENTS}/{seq:08d}"

    def _files(self, sweep: str, *, with_log: bool) -> Iterator[tuple[str, tuple[int, int]]]:
        """Key and state (size, time of change) of each file; manifests last, whole folders only."""
        found = []
        for path in (self._root / sweep).rglob("*"):
            key = path.relative_to(self._root)
            if path.is_symlink() or any(part.startswith(".") for part in key.parts):
                continue
            is_local = len(key.parts) == 2 and key.name.startswith(_OF_THIS_MACHINE)
            if path.is_file() and (not is_local or (with_log and key.name == LOG)):
                status = path.stat()
                found.append((key.as_posix(), (status.st_size, status.st_mtime_ns)))
        yield from sorted(found, key=lambda item: (item[0].endswith(MANIFEST), item[0]))

    def _download(self, key: str, size: int) -> None:
        path = self._contained(key)
        if not path.is_file() or path.stat().st_size != size:
            self._write(path, self._store.get(key))
        status = path.stat()
        self._pushed[key] = (status.st_size, status.st_mtime_ns)

    def _contained(self, key: str) -> Path:
        """Where an object goes; a name in a store may be anything.

        Raises:
            SweepError: It would go outside of the mirror.
        """
        path = self._root / key
        if ".." in PurePosixPath(key).parts or not path.resolve().is_relative_to(
            self._root.resolve()
        ):
            raise SweepError(f"{self._store.url}: must hold plain names, got {key!r}")
        return path

    def _write(self, path: Path, content: bytes) -> None:
        with disk_faults_named(path):
            make_private_directory(path.parent)
            replace_file(path, content)

    def _verify(self, sweep: str) -> None:
        """Compare adapters with their manifests; a checkpoint is compared when it is used."""
        for manifest in sorted((self._root / sweep).glob(f"trials/*/adapter/{MANIFEST}")):
            verify_folder(manifest.parent)
