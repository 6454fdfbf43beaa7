"""The folder on this machine in which a driver works: the storage itself, or a URL's mirror."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from droplora_sweep.errors import Fault, InputError
from droplora_sweep.files import disk_faults_named, make_private_directory, replace_file
from droplora_sweep.redaction import secret_in

from .mirror import Mirror
from .object_store import ObjectStore, is_url

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
        raise InputError([Fault("", "storage", problem)])
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
    """What a user calls a storage folder: the URL that it mirrors, or its path."""
    file = root / URL_FILE
    return file.read_text() if file.is_file() else str(root)


def mirror_of(root: Path) -> Mirror | None:
    """The mirror whose root a storage folder is; None for a folder that mirrors nothing."""
    url = storage_name(root)
    return Mirror(root, ObjectStore(url)) if is_url(url) else None
