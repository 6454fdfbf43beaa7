"""Adapters on disk: published whole, with the sha256 of every file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from droplora_sweep.publishing import MANIFEST, publish_folder, verify_folder

from .model_card import CARD

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path


def publish_adapter(directory: Path, files: Mapping[str, bytes | Callable[[Path], None]]) -> str:
    """Write an adapter so that the folder holds all of it or is absent.

    Args:
        directory: The adapter's folder.
        files: Content by name, or what writes it to a path; a name may have folders in it.

    Returns:
        sha256 of the manifest, which pins every file.
    """
    assert files, "an adapter has files"
    return publish_folder(directory, files)


def plain_files(directory: Path) -> dict[str, bytes]:
    """An adapter's files by name, without its card and its manifest."""
    return {
        path.name: path.read_bytes()
        for path in sorted(directory.iterdir())
        if path.is_file() and path.name not in (MANIFEST, CARD)
    }


def verify_adapter(directory: Path, digest: str | None = None) -> None:
    """Check an adapter against its manifest, and the manifest against the ledger's digest.

    Args:
        directory: The adapter's folder.
        digest: ``TrialRecord.adapter_digest``; None checks the files alone.

    Raises:
        SweepError: Naming every file that is missing, changed or unexpected.
    """
    verify_folder(directory, digest)
