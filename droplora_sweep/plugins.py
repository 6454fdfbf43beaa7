"""Benchmarks, scorings and LoRA variants that installed packages bring.

A package names what it brings in its ``pyproject.toml``, in the group of that kind::

    [project.entry-points."droplora_sweep.benchmarks"]
    my_benchmark = "my_package:my_benchmark"

Behind the name is a callable without arguments, a function or a class, that returns what is
brought. The package must be installed wherever a trial runs.
"""

from __future__ import annotations

import functools
import sys
from importlib import metadata
from typing import TYPE_CHECKING, TypeVar

from .errors import SweepError

if TYPE_CHECKING:
    from collections.abc import Collection

T = TypeVar("T")


class PluginError(SweepError):
    """An entry point leads to nothing that can be used; the text, one line, names it."""


def names(group: str) -> frozenset[str]:
    """Return the names that installed packages have in a group; none of them is imported."""
    return frozenset(one.name for one in _entry_points(group, tuple(sys.path)))


def load(group: str, name: str, kind: type[T], builtin: Collection[str] = ()) -> T | None:
    """Return what an installed package brings by this name; None where no package does.

    Args:
        group: Entry points of one kind.
        name: Name of the entry point.
        kind: Class of what is brought.
        builtin: Names that no package may use.

    Raises:
        PluginError: It cannot be imported, fails, returns something else, or has a name that is
            built in or that another package has too.
    """
    found = [one for one in _entry_points(group, tuple(sys.path)) if one.name == name]
    if not found:
        return None
    entry_point = found[0]
    place = f"entry point {name} = {entry_point.value}"
    if name in builtin:
        package = entry_point.dist.name if entry_point.dist else "the package"
        raise PluginError(
            f"{place}: must have another name than what is built in, got {name}; uninstall "
            f"{package}, or rename its entry point"
        )
    if len(found) > 1:
        others = ", ".join(one.value for one in found[1:])
        raise PluginError(f"{place}: must be the only one of its name, got {others} too")
    try:
        brought = entry_point.load()()
    # Whatever a plug-in raises, the user needs to know which plug-in it was.
    except Exception as error:
        raise PluginError(f"{place}: {type(error).__name__}: {error}") from error
    if not isinstance(brought, kind):
        raise PluginError(f"{place}: must return a {kind.__name__}, got {type(brought).__name__}")
    return brought


@functools.cache
def _entry_points(group: str, path: tuple[str, ...]) -> tuple[metadata.EntryPoint, ...]:
    """Read what is installed once for each search path: it is many small files."""
    del path
    return tuple(metadata.entry_points(group=group))
