"""Writes a sweep's files for readers: its spec, and its summary."""

from __future__ import annotations

from typing import TYPE_CHECKING

import yaml

from droplora_sweep.files import disk_faults_named, make_private_directory, replace_file
from droplora_sweep.records.layout import SPEC, SUMMARY
from droplora_sweep.redaction import redact

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def write_spec(directory: Path, spec: Mapping[str, object]) -> None:
    """Keep the spec of a sweep's last start where people look for it.

    Raises:
        SweepError: If the file system refuses.
    """
    with disk_faults_named(directory):
        replace_file(directory / SPEC, yaml.safe_dump(spec, sort_keys=False).encode())


def write_summary(directory: Path, texts: Mapping[str, str]) -> None:
    """Write texts for readers, by file name.

    Raises:
        SweepError: If the file system refuses.
    """
    folder = directory / SUMMARY
    for name, text in texts.items():
        with disk_faults_named(folder):
            make_private_directory(folder)
            replace_file(folder / name, redact(text).encode())
