"""Puts a report into a folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from droplora_sweep.files import disk_faults_named, make_private_directory, replace_file
from droplora_sweep.redaction import redact

if TYPE_CHECKING:
    from pathlib import Path

    from .page import Report

PAGE = "report.html"


def write_report(report: Report, folder: Path) -> Path:
    """Write the page and its images, each whole or not at all; files of these names are replaced.

    Returns:
        The page.

    Raises:
        SweepError: The file system refuses.
    """
    with disk_faults_named(folder):
        make_private_directory(folder)
        for name, image in report.images.items():
            replace_file(folder / name, image)
        # Last: a page that is there has its images.
        replace_file(folder / PAGE, redact(report.html).encode())
    return folder / PAGE
