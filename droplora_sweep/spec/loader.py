"""Search-space files: read, checked as a whole, every fault named at its line."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from droplora_sweep.errors import Fault, InputError

from ._messages import nearest_key, translate
from ._parameter_rules import Finding
from ._rules import find_broken_rules
from ._source import Source, dotted, path_of, read_source
from .sweep import SweepSpec

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path as FilePath

    from pydantic_core import ErrorDetails

    from ._yaml import Path

_STAND_IN_NAME = "unnamed"


@dataclass(frozen=True)
class SweepFile:
    """A valid sweep that still knows where each of its values was given."""

    sweep: SweepSpec
    _source: Source

    def locate(self, error: InputError) -> InputError:
        """Give the faults that were found later, e.g. an empty split, the line of their field."""
        return InputError(
            [
                fault if fault.where else self._source.fault(path_of(fault.field), fault.problem)
                for fault in error.faults
            ]
        )


def load_sweep(file: str | FilePath, overrides: Sequence[str] = ()) -> SweepSpec:
    """Read a search-space file.

    Args:
        file: YAML file of at most 1 MB.
        overrides: ``path=value`` strings that replace values of the file, in order; the value is
            read as YAML. ``search.parameters.<field>=null`` takes a field out of the search.

    Raises:
        InputError: With every fault of the file and of the overrides.
    """
    return load_sweep_file(file, overrides).sweep


def load_sweep_file(file: str | FilePath, overrides: Sequence[str] = ()) -> SweepFile:
    """Like ``load_sweep``, but faults found later can still be given their line.

    Raises:
        InputError: With every fault of the file and of the overrides.
    """
    source = read_source(file, overrides)
    faults = [Fault(place, dotted(path), problem) for path, place, problem in source.problems]
    faulty = [path for path, _, _ in source.problems if path]
    sweep = None
    data = deepcopy(source.data)
    while sweep is None:
        try:
            sweep = SweepSpec.model_validate(data)
        except ValidationError as error:
            for details in error.errors():
                path, problem = translate(details)
                if not _any_overlap((path,), faulty):
                    faults.append(source.fault(path, problem))
                faulty += [path, *_meant(details)]
                _leave_out(path, data)
    faults += [
        source.fault(finding.path, finding.problem)
        for finding in (*find_broken_rules(sweep), *_useless_overrides(sweep, source))
        if not _any_overlap((finding.path, *finding.reads), faulty)
    ]
    if faults:
        raise InputError(sorted(faults, key=_file_order))
    return SweepFile(sweep, source)


def _leave_out(path: Path, data: dict[str, Any]) -> None:
    """Remove what is faulty, so that the rules between fields can be checked on the rest."""
    if path == ("name",):
        data["name"] = _STAND_IN_NAME
        return
    keys = [part for part in path if isinstance(part, str)]
    if keys[:2] in (["search", "parameters"], ["search", "stopping"]):
        keys = keys[: 3 if keys[1] == "parameters" else 2]
    section: Any = data
    for key in keys[:-1]:
        section = section.get(key)
        if not isinstance(section, dict):
            return
    section.pop(keys[-1], None)


def _meant(details: ErrorDetails) -> tuple[Path, ...]:
    """The key an unknown one was meant to be: its default says nothing of what the user wants."""
    near = nearest_key(details["loc"]) if details["type"] == "extra_forbidden" else None
    return () if near is None else (near,)


def _useless_overrides(sweep: SweepSpec, source: Source) -> Iterator[Finding]:
    """A default that no trial would have: its field is always searched."""
    for path in source.overridden:
        parameter = sweep.search.parameters.get(dotted(path))
        if parameter is not None and not parameter.when:
            remedy = f"--set search.parameters.{dotted(path)}=null"
            yield Finding(path, f"is searched, so this has no effect; fix it with {remedy} as well")


def _any_overlap(paths: Sequence[Path], faulty: Sequence[Path]) -> bool:
    """Whether one path is another, or lies within it."""
    return any(path[: len(bad)] == bad[: len(path)] for path in paths for bad in faulty)


def _file_order(fault: Fault) -> tuple[bool, int]:
    """The file's lines from top to bottom, then the overrides."""
    line = fault.where.rpartition(":")[2]
    return fault.where.startswith("--set"), int(line) if line.isdigit() else 0
