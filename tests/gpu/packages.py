"""Packages that ``make test-gpu-core`` needs, and their versions beside those of pyproject.toml."""

from __future__ import annotations

import re
from importlib import metadata
from pathlib import Path

CORE_PACKAGES = (
    "torch",
    "transformers",
    "peft",
    "deepspeed",
    "pydantic",
    "requests",
    "scipy",
)
"""These, and what they require themselves, are enough for every core check: training brings in the
judge's client (requests) and the quantiles of a loss's slope (scipy)."""

ROOT = Path(__file__).parents[2]


def missing(packages: tuple[str, ...] = CORE_PACKAGES) -> str | None:
    """Return one line that names the packages that are not installed; None where all are."""
    absent = [name for name in packages if version_of(name) is None]
    if not absent:
        return None
    return f"cannot run: {', '.join(absent)} not installed here; pip install {' '.join(absent)}"


def version_of(package: str) -> str | None:
    """Return the installed version; None where it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def versions() -> dict[str, str]:
    """Return the installed version of each, with the range that the project is tested with."""
    ranges = version_ranges((ROOT / "pyproject.toml").read_text("utf-8"))
    return {
        name: f"{version_of(name)} (tested with {ranges.get(name, 'any')})"
        for name in CORE_PACKAGES
    }


def version_ranges(pyproject: str) -> dict[str, str]:
    """Return the version ranges of the project's dependencies by name."""
    [block] = re.findall(r"^dependencies = \[\n(.*?)^\]", pyproject, flags=re.M | re.S)
    found = re.findall(r'"([A-Za-z0-9-]+)(?:\[[^]]*\])?([^"]*)"', block)
    return {name: limits for name, limits in found if limits}
