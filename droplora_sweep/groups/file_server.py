"""The file server: a process on the driver's node, to which workers send files in pieces.

It writes what trials leave, and their checkpoints where workers do not see the storage themselves,
and reads them out again. No process holds more than a few pieces at a time, whatever the size.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray
from ray.exceptions import RayActorError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from droplora_sweep.errors import SweepError
from droplora_sweep.files import disk_faults_named
from droplora_sweep.publishing import verify_folder, write_files
from droplora_sweep.storage.file_set import FileSet, described
from droplora_sweep.storage.incoming import IncomingFolder, new_box
from droplora_sweep.storage.object_store import is_url
from droplora_sweep.training.checkpoints.places import checkpoint_place, scratch_folder

from .cluster import NAMESPACE, why_it_died

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from ray.actor import ActorHandle

    from droplora_sweep.publishing import Content
    from droplora_sweep.storage.file_set import FileFacts

logger = logging.getLogger(__name__)

PIECE_BYTES = 4 << 20
"""A piece on its way; large enough that calls cost little, small enough for any memory."""
PIECES_IN_FLIGHT = 2
"""Pieces that one worker has on the way: while one is written the next one travels."""
THREADS = 2
"""Calls that the server answers side by side; each holds a piece at most."""
SETTLE_S = 60.0
"""Longest wait for pieces that are under way when another has failed."""
NUM_TRIES = 2
"""Files that were damaged on their way are sent so often."""


@dataclass(frozen=True)
class _Problem:
    """Answer of the server where it cannot do what it was asked.

    Attributes:
        text: The reason, in one line.
    """

    text: str


class _FileServer:
    """Writes and reads files on its node; every call can be repeated, should the server restart."""

    def __init__(self, folder: str) -> None:
        self._incoming = IncomingFolder(Path(folder))

    def open(self, trial_id: str) -> str | _Problem:
        try:
            return self._incoming.open(trial_id)
        except SweepError as error:
            return _Problem(str(error))

    def write(self, box: str, name: str, offset: int, piece: bytes) -> _Problem | None:
        try:
            self._incoming.write(box, name, offset, piece)
        except SweepError as error:
            return _Problem(str(error))
        return None

    def seal(self, box: str, files: Mapping[str, FileFacts]) -> FileSet | _Problem:
        try:
            return self._incoming.seal(box, files)
        except SweepError as error:
            return _Problem(str(error))

    def drop(self, box: str) -> None:
        self._incoming.drop(box)

    def read(self, path: str, offset: int, size_bytes: int) -> bytes | _Problem:
        try:
            descriptor = os.open(path, os.O_RDONLY)
            try:
                return os.pread(descriptor, size_bytes, offset)
            finally:
                os.close(descriptor)
        except OSError as error:
            return _Problem(f"{path}: cannot read: {error.strerror}")

    def checkpoints(self, trial: str, kind: str) -> list[str] | _Problem:
        try:
            return checkpoint_place(trial, kind).names()
        except (OSError, SweepError) as error:
            return _Problem(str(error))

    def publish_checkpoint(
        self, trial: str, kind: str, name: str, files: FileSet
    ) -> _Problem | None:
        """Make a sealed box a checkpoint."""
        try:
            checkpoint_place(trial, kind).publish(name, files.moved())
        except (OSError, SweepError) as error:
            return _Problem(str(error))
        finally:
            shutil.rmtree(files.folder, ignore_errors=True)
        return None

    def open_checkpoint(self, trial: str, kind: str, name: str) -> FileSet | _Problem:
        """Return the files of a checkpoint that is whole; those of a store are brought here."""
        try:
            with checkpoint_place(trial, kind).folder(name) as folder:
                verify_folder(folder)
                if is_url(trial):
                    kept = self._incoming.box(new_box(name))
                    shutil.move(folder, kept)
                    return described(kept)
                return described(folder)
        except (OSError, SweepError) as error:
            return _Problem(str(error))

    def prune_checkpoints(self, trial: str, kind: str, keep: int) -> _Problem | None:
        try:
            checkpoint_place(trial, kind).prune(keep)
        except (OSError, SweepError) as error:
            return _Problem(str(error))
        return None


class FileClient:
    """A worker's side of the file server.

    Args:
        server: The server.
        on_piece: Called with each piece that has arrived, from the caller's thread.
    """

    def __init__(
        self, server: ActorHandle[Any], on_piece: Callable[[], None] = lambda: None
    ) -> None:
        self._server = server
        self._on_piece = on_piece

    def silent(self) -> FileClient:
        """Return a client of the same server that shows nobody its pieces, for another thread."""
        return FileClient(self._server)

    def send(self, folder: Path, box: str) -> FileSet:
        """Send all files of a folder of this node; they are on the driver's disk afterwards.

        Args:
            folder: The folder.
            box: A new name for them.

        Raises:
            SweepError: They cannot be read or written, stay damaged, or the server has died.
        """
        with disk_faults_named(folder):
            files = described(folder).files
        try:
            for _ in range(NUM_TRIES - 1):
                self._send(folder, box, files)
                try:
                    return self._seal(box, files)
                except SweepError as error:
                    logger.warning("files are sent once more: %s", error)
            self._send(folder, box, files)
            return self._seal(box, files)
        except SweepError:
            self.drop(box)
            raise

    def fetch(self, files: FileSet, folder: Path) -> None:
        """Bring files of the driver's node into a folder here, which exists.

        Raises:
            SweepError: They cannot be read or written, are damaged, or the server has died.
        """
        for name, facts in files.files.items():
            path, digest = folder / name, hashlib.sha256()
            with disk_faults_named(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                with path.open("xb") as file:
                    for piece in self._pieces(str(files.path(name)), facts.size_bytes):
                        digest.update(piece)
                        file.write(piece)
            if digest.hexdigest() != facts.sha256:
                problem = f"sha256 must be {facts.sha256}, got {digest.hexdigest()}"
                raise SweepError(f"{files.path(name)}: {problem}")

    def drop(self, box: str) -> None:
        """Remove what has arrived of a box."""
        self._server.drop.remote(box)

    def ask(self, method: str, *args: Any) -> Any:
        """Return the server's answer.

        Raises:
            SweepError: It cannot do it, or has died.
        """
        answer = self._answer(getattr(self._server, method).remote(*args))
        if isinstance(answer, _Problem):
            raise SweepError(answer.text)
        return answer

    def _seal(self, box: str, files: Mapping[str, FileFacts]) -> FileSet:
        sealed: FileSet = self.ask("seal", box, files)
        return sealed

    def _send(self, folder: Path, box: str, files: Mapping[str, FileFacts]) -> None:
        under_way: deque[ray.ObjectRef[Any]] = deque()
        try:
            for name, offset, piece in _read_pieces(folder, files):
                if len(under_way) == PIECES_IN_FLIGHT:
                    self._await(under_way.popleft())
                under_way.append(self._server.write.remote(box, name, offset, piece))
            while under_way:
                self._await(under_way.popleft())
        except SweepError:
            # One that arrives after the box is removed would make it again.
            if under_way:
                ray.wait(list(under_way), num_returns=len(under_way), timeout=SETTLE_S)
            raise

    def _await(self, reference: ray.ObjectRef[Any]) -> None:
        problem = self._answer(reference)
        if problem is not None:
            raise SweepError(problem.text)
        self._on_piece()

    def _pieces(self, path: str, size_bytes: int) -> Iterator[bytes]:
        under_way: deque[ray.ObjectRef[Any]] = deque()
        offsets = iter(range(0, size_bytes, PIECE_BYTES))
        while True:
            while len(under_way) < PIECES_IN_FLIGHT and (offset := next(offsets, None)) is not None:
                under_way.append(self._server.read.remote(path, offset, PIECE_BYTES))
            if not under_way:
                return
            piece = self._answer(under_way.popleft())
            if isinstance(piece, _Problem):
                raise SweepError(piece.text)
            self._on_piece()
            yield piece

    @staticmethod
    def _answer(reference: ray.ObjectRef[Any]) -> Any:
        try:
            return ray.get(reference)
        except RayActorError as error:
            raise SweepError(
                "the file server, the process on the driver's node that takes what trials leave, "
                f"has died: {why_it_died(error)}"
            ) from error


def _read_pieces(folder: Path, files: Mapping[str, FileFacts]) -> Iterator[tuple[str, int, bytes]]:
    """Yield each piece of each file: the file's name, the piece's offset, and the piece.

    Raises:
        SweepError: A file cannot be read.
    """
    for name, facts in files.items():
        # An empty file is a piece too.
        for offset in range(0, max(facts.size_bytes, 1), PIECE_BYTES):
            with disk_faults_named(folder / name), (folder / name).open("rb") as file:
                file.seek(offset)
                piece = file.read(PIECE_BYTES)
            yield name, offset, piece


def start_file_server(name: str, folder: Path) -> ActorHandle[Any]:
    """Start a sweep's file server on this node; it lives as long as the driver.

    Args:
        name: Its name, for workers.
        folder: Result of `fresh_incoming`.
    """
    actor: Any = ray.remote(_FileServer)
    here = ray.get_runtime_context().get_node_id()
    server: ActorHandle[Any] = actor.options(
        name=name,
        namespace=NAMESPACE,
        num_cpus=0,
        max_concurrency=THREADS,
        # It has no state but what is on the disk.
        max_restarts=-1,
        max_task_retries=-1,
        scheduling_strategy=NodeAffinitySchedulingStrategy(here, soft=False),
    ).remote(str(folder))
    return server


class CheckpointsThroughServer:
    """The place of a trial's checkpoints where its workers do not see it (see `CheckpointPlace`).

    Args:
        client: The file server's.
        trial: The trial's folder on the driver's node, or its URL.
        kind: ``checkpoints``, or ``snapshots``.
    """

    def __init__(self, client: FileClient, trial: str, kind: str) -> None:
        self._client = client
        self._trial = trial
        self._kind = kind

    def __str__(self) -> str:
        return f"{self._trial.partition('?')[0]}/{self._kind}, through Ray"

    def names(self) -> list[str]:
        """Every checkpoint, newest first."""
        names: list[str] = self._client.ask("checkpoints", self._trial, self._kind)
        return names

    @contextmanager
    def folder(self, name: str) -> Iterator[Path]:
        """A checkpoint as a folder, for as long as it is read."""
        files = self._client.ask("open_checkpoint", self._trial, self._kind, name)
        try:
            with scratch_folder() as scratch:
                self._client.fetch(files, scratch)
                yield scratch
        finally:
            # The server removes it where it is a copy, and leaves a checkpoint's own folder alone.
            self._client.drop(Path(files.folder).name)

    def publish(self, name: str, files: Mapping[str, Content]) -> None:
        """Add a checkpoint, all of it or none."""
        with scratch_folder() as scratch:
            write_files(scratch, files)
            sent = self._client.send(scratch, new_box(name))
        self._client.ask("publish_checkpoint", self._trial, self._kind, name, sent)

    def prune(self, keep: int) -> None:
        """Remove all but the newest ``keep`` checkpoints, and what writers that died have left."""
        self._client.ask("prune_checkpoints", self._trial, self._kind, keep)

    def clear(self) -> None:
        """Remove them all; to be done once the trial's end is recorded."""
        self.prune(0)
