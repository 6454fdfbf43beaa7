"""Objects under a URL, through pyarrow's file systems: ``s3://``, ``gs://``, ``file://`` and more.

Writing an object is atomic: readers see the old one, the new one or none. Credentials come from the
environment, as the clients of each store read them.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from droplora_sweep.errors import SweepError
from droplora_sweep.files import (
    disk_faults_named,
    make_private_directory,
    sync_directory,
    temporary_beside,
)
from droplora_sweep.spec.locations import is_url as is_url

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

_CHUNK_BYTES = 8 << 20


class StoreError(SweepError):
    """A store refuses, or does not answer; it may later."""


@dataclass(frozen=True)
class Stamp:
    """Mark that tells an object from the one that was there before.

    Attributes:
        size_bytes: Its length.
        written: Time of writing, by the store's own clock.
    """

    size_bytes: int
    written: datetime


def below(location: str, *parts: str) -> str:
    """A place below a folder or a URL, whose options stay at its end.

    >>> below("s3://bucket/sweeps?region=eu-west-1", "demo", "trials")
    's3://bucket/sweeps/demo/trials?region=eu-west-1'
    """
    path, mark, options = location.partition("?") if is_url(location) else (location, "", "")
    return "/".join([path.rstrip("/"), *parts]) + mark + options


def beside(location: str, name: str) -> str:
    """Another place in the folder, or below the URL, that a place is directly in.

    >>> beside("s3://bucket/trials/t0001?region=eu-west-1", "t0002")
    's3://bucket/trials/t0002?region=eu-west-1'
    """
    path, mark, options = location.partition("?") if is_url(location) else (location, "", "")
    return f"{path.rstrip('/').rpartition('/')[0]}/{name}{mark}{options}"


class ObjectStore:
    """Objects under one URL; keys are paths below it, with ``/`` between their parts."""

    def __init__(self, url: str) -> None:
        """Find the URL's file system; nothing is contacted yet.

        Raises:
            SweepError: There is none, it needs a package that is not installed, or the URL names
                neither a bucket nor a folder.
        """
        from pyarrow import ArrowException
        from pyarrow.fs import FileSystem, SubTreeFileSystem

        self.url = url
        try:
            file_system, root = FileSystem.from_uri(url)
        except (ArrowException, ValueError, ImportError, OSError) as error:
            raise SweepError(f"storage: cannot open {url}: {_first_line(error)}") from error
        if not root.strip("/"):
            raise SweepError(f"storage: must name a bucket or a folder after ://, got {url}")
        self._files = SubTreeFileSystem(root.rstrip("/"), file_system)
        self._folder = Path(root) if file_system.type_name == "local" else None
        if self._folder is not None:
            with self._named("", "create"):
                make_private_directory(self._folder)

    def put(self, key: str, content: bytes) -> None:
        """Write one object, whole.

        Raises:
            StoreError: The store refuses or does not answer.
        """
        with self._named(key, "write"), self._writing(key) as stream:
            stream.write(content)

    def get(self, key: str) -> bytes:
        """Content of one object.

        Raises:
            StoreError: It is not there, or the store does not answer.
        """
        with self._named(key, "read"), self._files.open_input_stream(key, compression=None) as file:
            content: bytes = file.read()
            return content

    def upload(self, key: str, path: Path) -> None:
        """Write one object from a file, a part at a time.

        Raises:
            StoreError: The store refuses or does not answer, or the file cannot be read.
        """
        with (
            self._named(key, "write"),
            path.open("rb") as file,
            self._writing(key) as stream,
        ):
            shutil.copyfileobj(file, stream, _CHUNK_BYTES)

    def download(self, key: str, path: Path) -> None:
        """Write one object to a file (mode 0600) in a folder that exists, whole or not at all.

        Raises:
            StoreError: The object is not there, or the store does not answer.
            SweepError: The file system refuses.
        """
        temporary = temporary_beside(path)
        try:
            with disk_faults_named(path), temporary.open("xb") as file:
                temporary.chmod(0o600)
                for chunk in self._chunks(key):
                    file.write(chunk)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)

    def stamps(self, prefix: str) -> dict[str, Stamp]:
        """Every object below a prefix, by its key; sorted.

        Raises:
            StoreError: The store does not answer.
        """
        from pyarrow.fs import FileSelector

        with self._named(prefix, "list"):
            selector = FileSelector(prefix, recursive=True, allow_not_found=True)
            found = self._files.get_file_info(selector)
        return {
            info.path: Stamp(info.size, info.mtime)
            for info in sorted(found, key=lambda info: str(info.path))
            if info.is_file and not info.base_name.startswith(".")
        }

    def stamp(self, key: str) -> Stamp | None:
        """One object's stamp; None where there is no such object.

        Raises:
            StoreError: The store does not answer.
        """
        with self._named(key, "read"):
            info = self._files.get_file_info(key)
        return Stamp(info.size, info.mtime) if info.is_file else None

    def exists(self, key: str) -> bool:
        """Return whether there is such an object."""
        return self.stamp(key) is not None

    def delete(self, key: str) -> None:
        """Remove one object; does nothing where it is gone."""
        with self._named(key, "delete"), contextlib.suppress(FileNotFoundError):
            self._files.delete_file(key)

    @contextlib.contextmanager
    def _writing(self, key: str) -> Iterator[Any]:
        """A stream whose content becomes the object."""
        if self._folder is None:
            with self._files.open_output_stream(key, compression=None) as stream:
                yield stream
            return
        path = self._folder / key
        make_private_directory(path.parent)
        temporary = temporary_beside(path)
        try:
            with temporary.open("xb") as file:
                temporary.chmod(0o600)
                yield file
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
            sync_directory(path.parent)
        finally:
            temporary.unlink(missing_ok=True)

    def _chunks(self, key: str) -> Iterator[bytes]:
        with self._named(key, "read"):
            stream = self._files.open_input_stream(key, compression=None)
        with stream:
            while True:
                with self._named(key, "read"):
                    chunk = stream.read(_CHUNK_BYTES)
                if not chunk:
                    return
                yield chunk

    @contextlib.contextmanager
    def _named(self, key: str, verb: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            where = f"{self.url.partition('?')[0].rstrip('/')}/{key}"
            raise StoreError(f"{where}: cannot {verb}: {_first_line(error)}") from error


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0]
