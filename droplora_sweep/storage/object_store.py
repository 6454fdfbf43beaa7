"""Objects under a URL, through pyarrow's file systems: ``s3://``, ``gs://``, ``file://`` and more.

Writing an object is atomic: readers see the old one, the new one or none. Credentials come from the
environment, as the clients of each store read them.
"""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING

from droplora_sweep.errors import SweepError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

_URL = re.compile(r"[a-z][a-z0-9+.-]+://")


def is_url(storage: str) -> bool:
    """Whether a storage is a URL rather than a folder."""
    return _URL.match(storage) is not None


class ObjectStore:
    """What lies under one URL; keys are paths below it, with ``/`` between their parts."""

    def __init__(self, url: str) -> None:
        """Find the URL's file system; nothing is contacted yet.

        Raises:
            SweepError: There is none, or it needs a package that is not installed.
        """
        from pyarrow import ArrowException
        from pyarrow.fs import FileSystem, SubTreeFileSystem

        self.url = url
        try:
            file_system, root = FileSystem.from_uri(url)
        except (ArrowException, ValueError, ImportError, OSError) as error:
            raise SweepError(f"storage: cannot open {url}: {_first_line(error)}") from error
        self._is_folder = file_system.type_name == "local"
        self._files = SubTreeFileSystem(root.rstrip("/"), file_system)
        if self._is_folder:
            with self._named("", "create"):
                file_system.create_dir(root, recursive=True)

    def put(self, key: str, content: bytes) -> None:
        """Write one object, whole.

        Raises:
            SweepError: The store refuses or does not answer.
        """
        with self._named(key, "write"):
            if self._is_folder:
                self._put_file(key, content)
                return
            with self._files.open_output_stream(key) as stream:
                stream.write(content)

    def get(self, key: str) -> bytes:
        """Content of one object.

        Raises:
            SweepError: It is not there, or the store does not answer.
        """
        with self._named(key, "read"), self._files.open_input_stream(key, compression=None) as file:
            content: bytes = file.read()
            return content

    def sizes(self, prefix: str) -> dict[str, int]:
        """Size in bytes of every object below a prefix, by its key; sorted."""
        return {info.path: info.size for info in self._infos(prefix)}

    def times(self, prefix: str) -> dict[str, datetime]:
        """When each object below a prefix was written, by the store's own clock."""
        return {info.path: info.mtime for info in self._infos(prefix)}

    def exists(self, key: str) -> bool:
        """Whether there is such an object."""
        with self._named(key, "read"):
            return bool(self._files.get_file_info(key).is_file)

    def delete(self, key: str) -> None:
        """Remove one object; does nothing where it is gone."""
        with self._named(key, "delete"), contextlib.suppress(FileNotFoundError):
            self._files.delete_file(key)

    def _put_file(self, key: str, content: bytes) -> None:
        """A folder's objects become whole by renaming."""
        folder, _, name = key.rpartition("/")
        self._files.create_dir(folder, recursive=True)
        temporary = f"{folder}/.{name}.tmp"
        with self._files.open_output_stream(temporary, compression=None) as stream:
            stream.write(content)
        self._files.move(temporary, key)

    def _infos(self, prefix: str) -> Iterator[_Info]:
        from pyarrow.fs import FileSelector

        with self._named(prefix, "list"):
            selector = FileSelector(prefix, recursive=True, allow_not_found=True)
            found = self._files.get_file_info(selector)
        for info in sorted(found, key=lambda info: str(info.path)):
            if info.is_file and not info.base_name.startswith("."):
                yield info

    @contextlib.contextmanager
    def _named(self, key: str, verb: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            where = f"{self.url.partition('?')[0].rstrip('/')}/{key}"
            raise SweepError(f"{where}: cannot {verb}: {_first_line(error)}") from error


if TYPE_CHECKING:
    from pyarrow.fs import FileInfo as _Info


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0]
