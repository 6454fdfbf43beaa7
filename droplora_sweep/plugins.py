"""Benchmarks, scorings and LoRA variants that installed packages bring.

A package names what it brings in its ``pyproject.toml``, in the group of that kind::

    [project.entry-points."droplora_sweep.benchmarks"]
    my_benchmark = "my_package:my_benchmark"

Behind the name is a callable without arguments, a function or a class, that returns what is
brought. The package must be installed wherever a trial runs.

Code of a user's own that is in no package is named by its place, ``module:name`` or
``file.py:name``.
"""

from __future__ import annotations

import contextlib
import difflib
import functools
import importlib
import sys
from importlib import metadata
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from .errors import SweepError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from types import ModuleType

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


def file_of(place: str) -> Path | None:
    """Return the Python file of a place, as it is given; None where it names a module.

    >>> file_of("metrics/score.py:f1"), file_of("my_metrics:f1")
    (PosixPath('metrics/score.py'), None)
    """
    module = place.rpartition(":")[0]
    return Path(module).expanduser() if "/" in module or module.endswith(".py") else None


def source_of(place: str) -> Path | None:
    """Return the file that has the source of a place's module; None where there is none."""
    file = file_of(place)
    if file is None:
        with _working_folder_importable():
            found = find_spec(place.rpartition(":")[0])
        file = None if found is None or found.origin is None else Path(found.origin)
    return file if file is not None and file.suffix == ".py" and file.is_file() else None


def import_place(place: str) -> Any:
    """Return what ``module:name`` or ``file.py:name`` names.

    A module is looked for among the installed ones, and in the working folder.

    Raises:
        PluginError: It cannot be imported, or has no such name.
    """
    module_name, _, name = place.rpartition(":")
    file = file_of(place)
    try:
        if file is None:
            with _working_folder_importable():
                module = importlib.import_module(module_name)
        else:
            module = _import_file(file)
    # Whatever a user's code raises, the user needs to know where.
    except (Exception, SystemExit) as error:
        said = " ".join(str(error).split())
        raise PluginError(
            f"must be code that can be imported, got {place}: {type(error).__name__}: {said}"
        ) from error
    if not hasattr(module, name):
        near = difflib.get_close_matches(name, vars(module), n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise PluginError(f"must be the name of something in {module_name}, got {name}{hint}")
    return getattr(module, name)


def _import_file(file: Path) -> ModuleType:
    """Run a Python file under a name that hides no installed module."""
    path = file.resolve()
    own_name = f"droplora_sweep_own_{path.stem}"
    found = spec_from_file_location(own_name, path)
    if found is None or found.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = module_from_spec(found)
    sys.modules[own_name] = module
    found.loader.exec_module(module)
    return module


@contextlib.contextmanager
def _working_folder_importable() -> Iterator[None]:
    """Let modules of the working folder be found: a command's own search path is without it."""
    folder = str(Path.cwd())
    is_missing = folder not in sys.path and "" not in sys.path
    if is_missing:
        sys.path.append(folder)
        importlib.invalidate_caches()
    try:
        yield
    finally:
        if is_missing:
            sys.path.remove(folder)
