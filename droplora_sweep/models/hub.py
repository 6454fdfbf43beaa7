"""A model of the Hub: its description alone, or all of it, once per node and with progress."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from droplora_sweep.errors import InputError

from .folders import has_description, has_weights, shards

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    OnArrival = Callable[[str | None], None]

logger = logging.getLogger(__name__)

# What a model needs and nothing that could run code: no *.py, no pickles.
_DESCRIPTION = ("*.json", "tokenizer.model", "*.jinja", "merges.txt", "vocab.txt")
_CODE = "*.py"
_WEIGHTS = "*.safetensors"
_NOT_NEEDED = ("*/*", "consolidated*")
"""Folders have the model in other forms, and Mistral's publisher stores its weights twice."""
_BYTES_PER_MB = 1e6
_LOCK = ".droplora-download.lock"

LOOK_INTERVAL_S = 2.0
"""Time between two looks at how much of a download has arrived."""
LINE_INTERVAL_S = 30.0
"""A user is told this often how far a download is."""


class OutOfReachError(InputError):
    """A Hub model cannot be looked at from this machine now; nothing else is known to be wrong."""


@dataclass(frozen=True, kw_only=True)
class HubModel:
    """A model of the Hub at a commit, in the Hub client's cache of this machine.

    Attributes:
        hub_id: Its id, ``owner/name``.
        revision: The commit, 40 hex digits.
        with_code: Takes its Python files too (``model.trust_remote_code``).
    """

    hub_id: str
    revision: str
    with_code: bool = False

    def __str__(self) -> str:
        return f"{self.hub_id} at {self.revision[:12]}"

    def here(self) -> Path | None:
        """Return its folder if all of it is on this machine; the Hub is not asked."""
        # Importing the Hub's client takes half a second, which a local model should not cost.
        from huggingface_hub import try_to_load_from_cache

        config = try_to_load_from_cache(self.hub_id, "config.json", revision=self.revision)
        if not isinstance(config, str):
            return None
        folder = Path(config).parent
        is_whole = has_weights(folder) and has_description(folder, with_code=self.with_code)
        return folder if is_whole else None

    def fetch_description(self) -> Path:
        """Return a folder with its configuration and tokenizer; weights are not downloaded.

        Raises:
            OutOfReachError: The Hub cannot be reached, or asks for a login.
            InputError: It has no such model or commit.
        """
        return self.here() or self._download(self._described)

    def fetch(self, on_arrival: OnArrival | None = None) -> Path:
        """Return a folder with all of it, downloaded by one process of a node as others wait.

        Args:
            on_arrival: Called every few seconds in which some of it has arrived, be it through
                another process; now and then with a line that says how far the download is. None
                logs the line.

        Raises:
            OutOfReachError: The Hub cannot be reached, asks for a login, or a download broke off.
            InputError: It has no such model or commit.
        """
        if (found := self.here()) is not None:
            return found
        from huggingface_hub.utils import WeakFileLock

        described = self._download(self._described)
        wanted = shards(described) or [_WEIGHTS]
        with _Arrivals(self, on_arrival) as arrivals, WeakFileLock(self._cache() / _LOCK):
            if (found := self.here()) is not None:
                return found
            arrivals.expect(self._size((*self._described, *wanted)))
            return self._download((*self._described, *wanted))

    def published_shapes(self) -> tuple[dict[str, tuple[int, ...]], int]:
        """Return the shape of each tensor, and the bytes of all, from the weight files' headers.

        Raises:
            OutOfReachError: The Hub cannot be reached, or asks for a login.
            InputError: It has no safetensors weights.
        """
        from huggingface_hub import HfApi
        from huggingface_hub.errors import NotASafetensorsRepoError, SafetensorsParsingError

        try:
            with self._faults_named():
                found = HfApi().get_safetensors_metadata(self.hub_id, revision=self.revision)
        except (NotASafetensorsRepoError, SafetensorsParsingError) as error:
            problem = f"must hold *.safetensors weights, got {self}"
            raise InputError.of("model.path", problem) from error
        tensors = {
            name: one
            for file in found.files_metadata.values()
            for name, one in file.tensors.items()
        }
        num_bytes = sum(one.data_offsets[1] - one.data_offsets[0] for one in tensors.values())
        return {name: tuple(one.shape) for name, one in tensors.items()}, num_bytes

    def num_bytes_here(self) -> int:
        """Return the bytes that have arrived, those of unfinished files too."""
        total = 0
        for path in (self._cache() / "blobs").glob("*"):
            # Another process may finish the file, which renames it, at this moment.
            with contextlib.suppress(OSError):
                total += path.stat().st_size
        return total

    @property
    def _described(self) -> tuple[str, ...]:
        return (*_DESCRIPTION, _CODE) if self.with_code else _DESCRIPTION

    def _cache(self) -> Path:
        # Importing the Hub's client takes half a second, which a local model should not cost.
        from huggingface_hub import constants

        return Path(constants.HF_HUB_CACHE) / f"models--{self.hub_id.replace('/', '--')}"

    def _download(self, patterns: Sequence[str]) -> Path:
        from huggingface_hub import snapshot_download
        from huggingface_hub.utils import disable_progress_bars

        with self._faults_named(), disable_progress_bars():
            return Path(
                snapshot_download(
                    self.hub_id,
                    revision=self.revision,
                    allow_patterns=list(patterns),
                    ignore_patterns=list(_NOT_NEEDED),
                )
            )

    def _size(self, patterns: Sequence[str]) -> int:
        """Return the bytes of the files that match."""
        from huggingface_hub import HfApi
        from huggingface_hub.hf_api import RepoFile
        from huggingface_hub.utils import filter_repo_objects

        with self._faults_named():
            entries = HfApi().list_repo_tree(self.hub_id, revision=self.revision)
            files = {one.path: one.size for one in entries if isinstance(one, RepoFile)}
        names = filter_repo_objects(
            files, allow_patterns=list(patterns), ignore_patterns=list(_NOT_NEEDED)
        )
        return sum(files[name] for name in names)

    @contextlib.contextmanager
    def _faults_named(self) -> Iterator[None]:
        """Turn what the Hub refuses, and what does not reach it, into an error of one line."""
        from huggingface_hub.errors import (
            GatedRepoError,
            HfHubHTTPError,
            HTTPError,
            LocalEntryNotFoundError,
            OfflineModeIsEnabled,
            RepositoryNotFoundError,
            RevisionNotFoundError,
        )

        try:
            yield
        except GatedRepoError as error:
            problem = (
                f"needs a login with access to {self.hub_id} at the Hub: ask for it on the model's "
                "page, and set HF_TOKEN here and on the cluster"
            )
            raise OutOfReachError.of("model.path", problem) from error
        except RevisionNotFoundError as error:
            problem = f"must be a commit of {self.hub_id} at the Hub, got {self.revision}"
            raise InputError.of("model.revision", problem) from error
        except RepositoryNotFoundError as error:
            problem = f"no such folder and no such Hub model, got {self.hub_id}"
            raise InputError.of("model.path", problem) from error
        except (LocalEntryNotFoundError, OfflineModeIsEnabled) as error:
            problem = f"no such folder, and the Hub cannot be reached for {self}"
            raise OutOfReachError.of("model.path", problem) from error
        except HfHubHTTPError as error:
            problem = f"cannot be had from the Hub, which refuses {self}: {_reason(error)}"
            raise InputError.of("model.path", problem) from error
        except HTTPError as error:
            problem = (
                f"cannot be downloaded to its end: {self} broke off ({_reason(error)}); start "
                "again, and what has arrived is kept"
            )
            raise OutOfReachError.of("model.path", problem) from error


def _reason(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


class _Arrivals:
    """Watch a download from a thread of its own; a context manager."""

    def __init__(self, model: HubModel, on_arrival: OnArrival | None) -> None:
        self._model = model
        self._on_arrival = on_arrival or _log
        self._expected: int | None = None
        self._next_line_at = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="download", daemon=True)

    def __enter__(self) -> _Arrivals:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._over.set()
        self._thread.join()

    def expect(self, num_bytes: int) -> None:
        """Let this process, which downloads, tell how far it is, now and as it goes on."""
        self._on_arrival(self._line(num_bytes))
        self._next_line_at = time.monotonic() + LINE_INTERVAL_S
        self._expected = num_bytes

    def _watch(self) -> None:
        last = self._model.num_bytes_here()
        while not self._over.wait(LOOK_INTERVAL_S):
            now = self._model.num_bytes_here()
            if now <= last:
                continue
            last = now
            is_due = time.monotonic() >= self._next_line_at
            if self._expected is None or not is_due:
                self._on_arrival(None)
                continue
            self._next_line_at = time.monotonic() + LINE_INTERVAL_S
            self._on_arrival(self._line(self._expected))

    def _line(self, expected: int) -> str:
        arrived, in_all = self._model.num_bytes_here() / _BYTES_PER_MB, expected / _BYTES_PER_MB
        return f"downloading {self._model}: {arrived:,.0f} of {in_all:,.0f} MB are here"


def _log(line: str | None) -> None:
    if line is not None:
        logger.warning("%s", line)
