"""Way of files between a worker and the sweep's storage: its own disk path, or the file server.

A worker that sees the driver's incoming folder writes there itself, and reads what others have
left; any other goes through the file server on the driver's node.
"""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from droplora_sweep.errors import Fault, SweepError
from droplora_sweep.files import disk_faults_named
from droplora_sweep.storage.file_set import described
from droplora_sweep.storage.incoming import IncomingFolder
from droplora_sweep.storage.object_store import is_url
from droplora_sweep.training.checkpoints.places import checkpoint_place, scratch_folder

from .file_server import CheckpointsThroughServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from droplora_sweep.spec import CheckpointTransport
    from droplora_sweep.storage.file_set import FileSet
    from droplora_sweep.training.checkpoints.places import CheckpointPlace

    from .file_server import FileClient


class Outbox:
    """A folder for what one trial leaves.

    Args:
        folder: Folder to write into.
        incoming: The driver's incoming folder, where this node sees it; else None.
        client: The file server's.
        box: Name of the box that the files arrive in.
    """

    def __init__(
        self, folder: Path, incoming: IncomingFolder | None, client: FileClient, box: str
    ) -> None:
        self.folder = folder
        self._incoming = incoming
        self._client = client
        self._box = box
        self.is_delivered = False

    def deliver(self) -> FileSet:
        """Return what was written, once it is on the driver's disk.

        Raises:
            SweepError: It cannot be sent or written.
        """
        if self._incoming is None:
            sent = self._client.send(self.folder, self._box)
        else:
            with disk_faults_named(self.folder):
                written = described(self.folder)
            sent = self._incoming.synced(self._box, written.files)
        self.is_delivered = True
        return sent

    def problem_of_delivery(self) -> str | None:
        """Deliver what was written, and remove it; return why that cannot be done."""
        try:
            self.deliver()
        except SweepError as error:
            return str(error)
        (self._client if self._incoming is None else self._incoming).drop(self._box)
        return None


class Deliveries:
    """Chooses the way of files, for one worker.

    Args:
        folder: The driver's incoming folder, on its node.
        transport: ``group.checkpoint_transport``.
        client: The file server's.
    """

    def __init__(self, folder: str, transport: CheckpointTransport, client: FileClient) -> None:
        self._transport = transport
        self._client = client
        sees = transport != "ray" and Path(folder).is_dir()
        self._incoming = IncomingFolder(Path(folder)) if sees else None

    @property
    def is_through_ray(self) -> bool:
        """True where what trials leave goes through Ray, as this node does not see the storage."""
        return self._incoming is None

    def fault_of(self, trial: str) -> Fault | None:
        """Return why a trial cannot be trained here; None where it can.

        Args:
            trial: The trial's folder, or its URL.
        """
        if self._transport != "storage" or self._incoming is not None or is_url(trial):
            return None
        problem = (
            "must be auto or ray where a worker's node does not see the storage, got storage, but "
            f"{Path(trial).parent.parent} is not there; mount it, or let checkpoints go through Ray"
        )
        return Fault("", "group.checkpoint_transport", problem)

    def checkpoints(self, trial: str, kind: str) -> CheckpointPlace:
        """Return the place of a trial's checkpoints.

        Args:
            trial: The trial's folder, or its URL.
            kind: ``checkpoints``, or ``snapshots``.
        """
        sees = is_url(trial) or self._incoming is not None
        if self._transport == "ray" or not sees:
            return CheckpointsThroughServer(self._client.silent(), trial, kind)
        return checkpoint_place(trial, kind)

    @contextmanager
    def outbox(self, trial_id: str) -> Iterator[Outbox]:
        """Yield a folder for what a trial leaves; what is not delivered from it is removed.

        Raises:
            SweepError: It cannot be made.
        """
        if self._incoming is None:
            box = self._client.ask("open", trial_id)
            with scratch_folder() as folder:
                yield Outbox(folder, None, self._client, box)
            return
        box = self._incoming.open(trial_id)
        outbox = Outbox(self._incoming.box(box), self._incoming, self._client, box)
        try:
            yield outbox
        finally:
            if not outbox.is_delivered:
                self._incoming.drop(box)

    @contextmanager
    def fetched(self, files: FileSet) -> Iterator[Path]:
        """Yield a folder of this node with files of the driver's node.

        Raises:
            SweepError: They cannot be had.
        """
        if self._incoming is not None and _sees(files):
            yield Path(files.folder)
            return
        with scratch_folder() as folder:
            self._client.fetch(files, folder)
            yield folder


def _sees(files: FileSet) -> bool:
    """Return True where this node has the files; the driver has verified them."""
    paths = ((files.path(name), facts) for name, facts in files.files.items())
    return all(path.is_file() and path.stat().st_size == facts.size_bytes for path, facts in paths)
