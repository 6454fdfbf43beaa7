"""Benchmarks that installed packages bring, for what data cannot say.

A package names one in its ``pyproject.toml``::

    [project.entry-points."droplora_sweep.benchmarks"]
    my_benchmark = "my_package:my_benchmark"

``my_package.my_benchmark`` is called without arguments and returns a ``BenchmarkEntry``. With
``folders`` its files are read like those of a known benchmark. With ``load`` it reads them itself:
``load(folder)``, where ``folder`` is ``task.data`` (None if that is null), returns a mapping of
``train``, ``validation`` and ``test`` (each may be missing) to lists of ``Example``. It must return
the same examples on each call, and the package must be installed wherever a trial runs.
"""

from __future__ import annotations

from importlib import metadata

from droplora_sweep.spec import PLUGIN_GROUP

from .registry import BenchmarkEntry


class BadPluginError(Exception):
    """An entry point does not lead to a benchmark; the text says why, on one line."""


def load_plugin(name: str) -> BenchmarkEntry | None:
    """The installed benchmark of this name; None if no package brings it.

    Raises:
        BadPluginError: It cannot be imported, fails, or returns something else.
    """
    found = tuple(metadata.entry_points(group=PLUGIN_GROUP, name=name))
    return entry_of(found[0]) if found else None


def entry_of(entry_point: metadata.EntryPoint) -> BenchmarkEntry:
    """The entry that an entry point's callable returns.

    Raises:
        BadPluginError: It cannot be imported, fails, or returns something else.
    """
    place = f"entry point {entry_point.name} = {entry_point.value}"
    try:
        entry = entry_point.load()()
    # Whatever a plug-in raises, the user needs to know which plug-in it was.
    except Exception as error:
        raise BadPluginError(f"{place}: {type(error).__name__}: {error}") from error
    if not isinstance(entry, BenchmarkEntry):
        raise BadPluginError(f"{place}: must return a BenchmarkEntry, got {type(entry).__name__}")
    if entry.is_builtin:
        raise BadPluginError(f"{place}: must have `folders` or `load`, got neither")
    return entry
