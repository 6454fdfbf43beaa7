"""Data behind a URL as a file or folder of this machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from droplora_sweep.spec.locations import DATA_SUFFIXES, is_web_url

from .cache import Cache, cache_root
from .errors import FetchError
from .stores import fetch_from_store
from .web import fetch_from_web

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


@dataclass(frozen=True)
class Fetched:
    """A copy of what a URL had.

    Attributes:
        path: File or folder.
        pin: ``sha256:`` and the digest of its content.
    """

    path: Path
    pin: str


def fetch(url: str, pin: str | None = None, *, cache: Cache | None = None) -> Fetched:
    """Return a copy of a URL's data, fetched unless it is known not to have changed.

    Args:
        url: A web server's file, or an object store's file or folder.
        pin: The content that is wanted; with it, a copy that is here is not asked for again.
        cache: Where copies are; the user's cache where None.

    Raises:
        FetchError: It cannot be fetched, or its content is not the one that is wanted.
        SweepError: It cannot be written.
    """
    cache = cache or Cache(cache_root())
    if pin is not None and (path := cache.path_of(pin)) is not None:
        return Fetched(path, pin)
    known = cache.known(url)
    with cache.new_folder() as folder:
        signs = _fetch_into(folder, url, {} if known is None else known.stamp)
        if signs is not None:
            [fetched] = folder.iterdir()
            found = cache.keep(url, fetched, signs)
        else:
            assert known is not None, "only what is known can be unchanged"
            found = known.pin
    path = cache.path_of(found)
    assert path is not None, "it was kept just now"
    if pin is not None and found != pin:
        raise FetchError(url, f"must have the content {pin}, as `revision` says, got {found}")
    return Fetched(path, found)


def _fetch_into(folder: Path, url: str, stamp: Mapping[str, str]) -> dict[str, str] | None:
    if is_web_url(url):
        return fetch_from_web(url, folder, stamp)
    return fetch_from_store(url, folder, stamp, DATA_SUFFIXES)
