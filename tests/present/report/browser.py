"""A headless Chromium, or the reason why there is none."""

import subprocess

import pytest

from tests.programs import find_program

CHROMIUM = find_program("chromium")

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")


def browse(address, folder, *options, timeout_s=180):
    """Open a page; what Chromium printed. Its profile goes into ``folder``."""
    command = [
        CHROMIUM,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        f"--user-data-dir={folder}/profile",
        *options,
        address,
    ]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=timeout_s, check=True, cwd=folder
    )
