"""The folder on this machine in which a driver works: the storage itself, or a URL's mirror.

Of a mirror's files: two contents of one length are common here (adapters of one rank), so a length
tells nothing. A file is known to be what the store holds when neither it nor its object has changed
since both were seen to be the same.

Of each sweep the URL holds what its folder holds, except that every event is an object of its own,
``<sweep>/events/<seq>``, since object stores cannot append. Files are uploaded before the event
that mentions them, and an event has happened once its object is there. What can be made again from
the events (Optuna's study, MLflow's store) stays on this machine. Checkpoints are the workers', who
carry them themselves.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path, PurePath, PurePosixPath
from typing import TYPE_CHECKING

from droplora_sweep.errors import InputError, SweepError
from droplora_sweep.files import disk_faults_named, make_private_directory, replace_file
from droplora_sweep.publishing import MANIFEST, verify_folder
from droplora_sweep.records.layout import (
    CHECKPOINTS,
    DRIVER_LOG,
    EVENT_OBJECTS,
    EVENTS,
    LEASE,
    PROGRESS,
    REQUESTS,
    SNAPSHOTS,
    STOP_REQUEST,
    STUDY,
    TRIALS,
)
from droplora_sweep.redaction import secret_in

from .object_store import ObjectStore, is_url

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from .object_store import Stamp


INDEX = ".mirrored.json"


class Index:
    """The files of one sweep's folder that are known to be what the store holds."""

    def __init__(self, root: Path, sweep: str) -> None:
        """Read what an earlier process found; one that cannot be read knows nothing."""
        self._root = root
        self._file = root / sweep / INDEX
        try:
            self._seen: dict[str, list[list[str | int]]] = json.loads(self._file.read_text())
        except (OSError, ValueError):
            self._seen = {}

    def keys(self) -> set[str]:
        """Every key that was noted."""
        return set(self._seen)

    def note(self, key: str, stamp: Stamp) -> None:
        """The file and its object, which has this stamp, are the same now."""
        self._seen[key] = [self._state(key), _of(stamp)]

    def forget(self, key: str) -> None:
        """The object or the file is gone."""
        self._seen.pop(key, None)

    def is_pushed(self, key: str) -> bool:
        """Return whether the file has not changed since it was noted."""
        return key in self._seen and self._seen[key][0] == self._state(key)

    def is_pulled(self, key: str, stamp: Stamp) -> bool:
        """Return whether neither the file nor its object has changed since they were noted."""
        return self.is_pushed(key) and self._seen[key][1] == _of(stamp)

    def save(self) -> None:
        """Keep it for the next process.

        Raises:
            SweepError: The file system refuses.
        """
        with disk_faults_named(self._file):
            replace_file(self._file, json.dumps(self._seen).encode())

    def _state(self, key: str) -> list[str | int]:
        try:
            status = (self._root / key).stat()
        except FileNotFoundError:
            return []
        return [status.st_size, status.st_mtime_ns]


def _of(stamp: Stamp) -> list[str | int]:
    return [stamp.size_bytes, stamp.written.isoformat()]


_OF_THIS_MACHINE = (EVENTS, DRIVER_LOG, LEASE, STOP_REQUEST, STUDY, PROGRESS)
OF_WORKERS = (CHECKPOINTS, SNAPSHOTS)
"""Folders of a trial that its workers write, in the store where there is one."""


class Mirror:
    """Carries sweeps from a folder to the object store it mirrors, and back.

    Attributes:
        store: The object store.
    """

    def __init__(self, root: Path, store: ObjectStore) -> None:
        self.store = store
        self._root = root
        self._indexes: dict[str, Index] = {}

    def names(self) -> list[str]:
        """Names of the sweeps under the URL, sorted."""
        keys = map(PurePosixPath, self.store.stamps(""))
        return sorted({key.parts[0] for key in keys if key.match(f"*/{EVENT_OBJECTS}/*")})

    def pull(self, sweep: str) -> None:
        """Bring a sweep's folder to what the URL holds.

        Raises:
            SweepError: The store does not answer, an event is missing, or what a manifest pins is
                not what was downloaded.
        """
        stamps = self.store.stamps(sweep)
        events = {key: stamps[key] for key in stamps if key.startswith(f"{sweep}/{EVENT_OBJECTS}/")}
        if not events:
            return
        for seq, key in enumerate(events):
            if key != (wanted := self._event_key(sweep, seq)):
                raise SweepError(f"{self.store.url}: must hold every event, lacks {wanted}")
        files = {
            key: stamp
            for key, stamp in stamps.items()
            if key not in events
            and not key.startswith(f"{sweep}/leases/")
            and not _is_of_workers(PurePosixPath(key))
        }
        self._remove_all_but(sweep, files)
        index = Index(self._root, sweep)
        for folder in {self._download(index, key, stamp) for key, stamp in files.items()}:
            if folder is not None and (folder / MANIFEST).is_file():
                verify_folder(folder)
        self._write_log(sweep, events)
        index.save()
        self._indexes[sweep] = index

    def push_files(self, sweep: str, *, with_log: bool = False) -> None:
        """Upload every file of a sweep that is new or has changed; remove what is gone here.

        Args:
            sweep: Its name.
            with_log: Also the driver's log, which grows all the time.

        Raises:
            SweepError: The store does not answer, or a file cannot be read.
        """
        index, present = self._index(sweep), list(self._files(sweep))
        if with_log and (self._root / sweep / DRIVER_LOG).is_file():
            present.append(f"{sweep}/{DRIVER_LOG}")
        changed = [key for key in present if not index.is_pushed(key)]
        gone = index.keys() - set(present) - {f"{sweep}/{DRIVER_LOG}"}
        for key in changed:
            self.store.upload(key, self._root / key)
            stamp = self.store.stamp(key)
            assert stamp is not None, f"{key} was written a moment ago"
            index.note(key, stamp)
        for key in gone:
            self.store.delete(key)
            index.forget(key)
        if changed or gone:
            index.save()

    def push_event(self, sweep: str, seq: int, line: bytes) -> None:
        """Upload one event; it has happened when this returns.

        May be repeated with the same event where it is not known whether it has arrived.

        Raises:
            SweepError: Another driver has written an event of this number.
        """
        key = self._event_key(sweep, seq)
        if not self.store.exists(key):
            self.store.put(key, line)
        elif self.store.get(key) != line:
            raise SweepError(f"{self.store.url}: {key} must be new; another driver has written it")

    @staticmethod
    def _event_key(sweep: str, seq: int) -> str:
        return f"{sweep}/{EVENT_OBJECTS}/{seq:08d}"

    def _index(self, sweep: str) -> Index:
        if sweep not in self._indexes:
            self._indexes[sweep] = Index(self._root, sweep)
        return self._indexes[sweep]

    def _files(self, sweep: str) -> Iterator[str]:
        """Key of each file that the URL holds too; manifests last, whole folders only."""
        found = []
        for path in (self._root / sweep).rglob("*"):
            key = path.relative_to(self._root)
            if path.is_symlink() or any(part.startswith(".") for part in key.parts):
                continue
            is_local = len(key.parts) == 2 and key.name.startswith(_OF_THIS_MACHINE)
            is_local = is_local or key.parts[1] == REQUESTS
            if path.is_file() and not is_local and not _is_of_workers(key):
                found.append(key.as_posix())
        yield from sorted(found, key=lambda key: (key.endswith(MANIFEST), key))

    def _remove_all_but(self, sweep: str, files: Mapping[str, Stamp]) -> None:
        """Remove what a driver of this machine wrote and did not live to record."""
        for key in list(self._files(sweep)):
            if key not in files:
                with disk_faults_named(self._root / key):
                    (self._root / key).unlink()

    def _download(self, index: Index, key: str, stamp: Stamp) -> Path | None:
        """The folder in which the file now is as the store has it; None if it was before."""
        path = self._contained(key)
        # A log is only uploaded when its driver ends; this machine's own may be longer.
        is_own_log = PurePosixPath(key).name == DRIVER_LOG and path.is_file()
        if is_own_log or index.is_pulled(key, stamp):
            return None
        with disk_faults_named(path):
            make_private_directory(path.parent)
        self.store.download(key, path)
        index.note(key, stamp)
        return path.parent

    def _write_log(self, sweep: str, events: Mapping[str, Stamp]) -> None:
        """Bring the log of events to what the URL holds; those that are here are not asked for."""
        path = self._contained(f"{sweep}/{EVENTS}")
        old = path.read_bytes() if path.is_file() else b""
        end, num_known = 0, 0
        for stamp in events.values():
            if old[end + stamp.size_bytes - 1 : end + stamp.size_bytes] != b"\n":
                break
            end += stamp.size_bytes
            num_known += 1
        new = old[:end] + b"".join(map(self.store.get, list(events)[num_known:]))
        if new != old:
            with disk_faults_named(path):
                make_private_directory(path.parent)
                replace_file(path, new)

    def _contained(self, key: str) -> Path:
        """Return the path of an object; a name in a store may be anything.

        Raises:
            SweepError: It would go outside of the mirror.
        """
        path = self._root / key
        if ".." in PurePosixPath(key).parts or not path.resolve().is_relative_to(
            self._root.resolve()
        ):
            raise SweepError(f"{self.store.url}: must hold plain names, got {key!r}")
        return path


def _is_of_workers(key: PurePath) -> bool:
    """Return whether it is in ``<sweep>/trials/<trial>/checkpoints``, or in its snapshots."""
    return len(key.parts) > 3 and key.parts[1] == TRIALS and key.parts[3] in OF_WORKERS


URL_FILE = ".url"
"""Names, in a mirror's root, what it mirrors."""


def local_storage(storage: str) -> Path:
    """The folder to work in: the storage itself, or the mirror of a URL, made where missing.

    Raises:
        InputError: The URL holds a secret, which its client takes from the environment.
        SweepError: The URL's kind is not known, or the mirror cannot be made.
    """
    if not is_url(storage):
        return Path(storage)
    if found := secret_in(storage):
        problem = f"must not hold a secret, got {found}; give it in the environment"
        raise InputError.of("storage", problem)
    ObjectStore(storage)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    digest = hashlib.sha256(storage.rstrip("/").encode()).hexdigest()
    root = cache / "droplora-sweep" / digest[:16]
    with disk_faults_named(root):
        make_private_directory(root)
        # Whoever made it, what is in it is its owner's alone.
        root.chmod(0o700)
        if storage_name(root) != storage:
            replace_file(root / URL_FILE, storage.encode())
    return root


def storage_name(root: Path) -> str:
    """Name of a storage folder for users: the URL that it mirrors, or its path."""
    file = root / URL_FILE
    return file.read_text() if file.is_file() else str(root)


def mirror_of(root: Path) -> Mirror | None:
    """The mirror whose root a storage folder is; None for a folder that mirrors nothing."""
    url = storage_name(root)
    return Mirror(root, ObjectStore(url)) if is_url(url) else None
