"""Search-space files, read and checked as a whole, every fault at its line; their JSON Schema.

``make schema`` writes the copy in ``search_spaces/``.
"""

from __future__ import annotations

import json
import re
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from droplora_sweep.errors import Fault, InputError
from droplora_sweep.redaction import redact
from droplora_sweep.scorers.harness import PREFIX
from droplora_sweep.spec.fields import (
    COMPOUND_FIELDS,
    MAPPING_FIELDS,
    SCALAR_FIELDS,
    SEARCHABLE_FIELDS,
    is_scalar_field,
    is_searchable,
)
from droplora_sweep.spec.rules.parameter_rules import Finding
from droplora_sweep.spec.rules.sweep_rules import find_broken_rules, find_secrets
from droplora_sweep.spec.sweep import SweepSpec
from droplora_sweep.spec.trial import TrialSpec

from .loading.messages import nearest_key, translate
from .loading.source import (
    EXTENDS,
    EXTENDS_DOC,
    Source,
    apply_override,
    dotted,
    path_of,
    read_source,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path as FilePath

    from .loading.yaml_text import Path


_STAND_IN_NAME = "unnamed"
_WHOLE_SECTIONS = (
    ["task", "train"],
    ["evaluation", "judge"],
    ["evaluation", "sampling"],
    ["search", "sampler"],
    ["search", "stopping"],
    ["search", "warm_start"],
)
"""Sections of which one with a fault is left out as if it were not given."""


@dataclass(frozen=True)
class SweepFile:
    """A valid sweep that still knows where each of its values was given."""

    sweep: SweepSpec
    _source: Source

    @property
    def text(self) -> str:
        """The file, what it extends and the overrides in one piece: JSON, which YAML holds."""
        return json.dumps(self._source.data, indent=2, ensure_ascii=False)

    def locate(self, error: InputError) -> InputError:
        """Give the faults that were found later, e.g. an empty split, the line of their field."""
        return InputError(
            [
                fault if fault.where else self._source.fault(path_of(fault.field), fault.problem)
                for fault in error.faults
            ]
        )


def load_sweep(
    file: str | FilePath, overrides: Sequence[str] = (), *, check_folders: bool = True
) -> SweepSpec:
    """Read a search-space file.

    Args:
        file: YAML file of at most 100 kB.
        overrides: ``path=value`` strings that replace values of the file, in order; the value is
            read as YAML. ``search.parameters.<field>=null`` takes a field out of the search.
        check_folders: True where ``model.path`` and ``task.data`` must exist here; False for a
            file that another machine will run.

    Raises:
        InputError: With every fault of the file and of the overrides.
    """
    return load_sweep_file(file, overrides, check_folders=check_folders).sweep


def load_sweep_file(
    file: str | FilePath,
    overrides: Sequence[str] = (),
    *,
    check_folders: bool = True,
    needs_data: bool = True,
) -> SweepFile:
    """Like ``load_sweep``, but faults found later can still be given their line.

    Args:
        file: As for ``load_sweep``.
        overrides: As for ``load_sweep``.
        check_folders: As for ``load_sweep``.
        needs_data: True where published benchmarks need `task.data`: to be run, not to be planned.

    Raises:
        InputError: With every fault of the file and of the overrides.
    """
    source = read_source(file, overrides)
    return _checked(source, check_folders=check_folders, needs_data=needs_data)


def load_data_as_sweep(data: str, overrides: Sequence[str] = ()) -> SweepFile:
    """Return the file that trains on a data file and is else made of defaults.

    Args:
        data: File, folder or URL of records.
        overrides: ``path=value`` strings, e.g. ``task.train.fields.instruction=question``.

    Raises:
        InputError: With every fault of the overrides.
    """
    stem = data.partition("?")[0].rstrip("/").rpartition("/")[2].partition(".")[0]
    name = re.sub(r"[^A-Za-z0-9_-]", "-", stem).lstrip("-_")[:64] or "data"
    task = {"name": name, "benchmarks": ["builtin_choice"], "train": {"name": name, "data": data}}
    content: dict[str, object] = {"name": name, "task": task, "search": {"parameters": {}}}
    source = Source(data, content, {(): data})
    for override in overrides:
        apply_override(source, override)
    return _checked(source)


def load_changed_trial(sweep: SweepSpec, trial: TrialSpec, overrides: Sequence[str]) -> SweepFile:
    """A trial of a sweep with other settings, by the rules of a file that searches nothing.

    Args:
        sweep: The trial's sweep.
        trial: The trial.
        overrides: ``path=value`` strings that replace its fields, in order.

    Raises:
        InputError: With every fault of the overrides.
    """
    data = {**sweep.model_dump(mode="json"), **trial.model_dump(mode="json")}
    if sweep.adapter.alpha is None and "adapter.alpha" not in sweep.search.parameters:
        # It follows the method and the rank, also those of the overrides.
        data["adapter"]["alpha"] = None
    # Of the search nothing is left that would have to suit what is searched, a fidelity neither.
    data["search"] = {"parameters": {}}
    source = Source(sweep.name, data, {(): sweep.name})
    for override in overrides:
        apply_override(source, override)
    for path in source.overridden:
        problem = _unchangeable(path)
        if problem is not None:
            source.problems.append((path, source.where(path), problem))
    return _checked(source)


def _unchangeable(path: Path) -> str | None:
    """Why a trial of a sweep cannot have another value there; None where it can."""
    field = dotted(path)
    if path[0] in SweepSpec.model_fields and path[0] not in TrialSpec.model_fields:
        return "must be a field of a trial"
    if field in COMPOUND_FIELDS:
        return "must be one field that a search may vary, e.g. adapter.rank"
    if is_scalar_field(field) and not is_searchable(field):
        return "must be as in the other trials of the sweep, with which it is compared"
    return None


def _checked(source: Source, *, check_folders: bool = True, needs_data: bool = True) -> SweepFile:
    """The sweep of a source.

    Raises:
        InputError: With every fault.
    """
    faults = [Fault(place, dotted(path), problem) for path, place, problem in source.problems]
    faulty = _Paths(path for path, _, _ in source.problems if path)
    for path, problem in find_secrets(source.data):
        # The place of an override shows its value.
        where = redact(source.where(path))
        faults.append(Fault(where, dotted(path), problem))
        faulty.add(path)
    sweep = None
    data = deepcopy(source.data)
    while sweep is None:
        try:
            sweep = SweepSpec.model_validate(data)
        except ValidationError as error:
            # Unknown keys first: one that was meant is not missing as well.
            for details in sorted(
                error.errors(), key=lambda details: details["type"] != "extra_forbidden"
            ):
                path, problem = translate(details)
                if not faulty.overlap(path):
                    faults.append(source.fault(path, problem))
                faulty.add(path)
                if details["type"] == "extra_forbidden" and (near := nearest_key(details["loc"])):
                    # What the user wants of the key that was meant is not known either.
                    faulty.add(near)
                _leave_out(path, data)
    findings = [
        finding
        for finding in (
            *find_broken_rules(sweep, check_folders=check_folders, needs_data=needs_data),
            *_useless_overrides(sweep, source),
        )
        if not any(map(faulty.overlap, (finding.path, *finding.reads)))
    ]
    if faults or not all(finding.is_found_again for finding in findings):
        faults += [source.fault(finding.path, finding.problem) for finding in findings]
        raise InputError(sorted(faults, key=_file_order))
    return SweepFile(sweep, source)


def recorded_sweep_file(sweep: SweepSpec, name: str) -> SweepFile:
    """A sweep that was read from no file; faults found later are at ``name``."""
    return SweepFile(sweep, Source(name, sweep.model_dump(mode="json"), {(): name}))


class _Paths:
    """Paths of values that are known to be faulty."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self._paths: set[Path] = set()
        self._around: set[Path] = set()
        for path in paths:
            self.add(path)

    def add(self, path: Path) -> None:
        self._paths.add(path)
        self._around.update(path[:length] for length in range(len(path)))

    def overlap(self, path: Path) -> bool:
        """Return whether ``path`` is one of the paths, within one, or around one."""
        return path in self._around or any(
            path[:length] in self._paths for length in range(len(path) + 1)
        )


def _leave_out(path: Path, data: dict[str, Any]) -> None:
    """Remove what is faulty, so that the rules between fields can be checked on the rest."""
    if path == ("name",):
        data["name"] = _STAND_IN_NAME
        return
    keys = [part for part in path if isinstance(part, str)]
    if keys[:2] == ["search", "parameters"]:
        keys = keys[:3]
    if keys[:2] in _WHOLE_SECTIONS:
        keys = keys[:2]
    if keys[:2] == ["task", "benchmarks"]:
        keys = keys[: 3 if isinstance(data["task"].get("benchmarks"), dict) else 2]
        data["task"].pop("benchmark_specs", None)
    section: Any = data
    for key in keys[:-1]:
        section = section.get(key)
        if not isinstance(section, dict):
            return
    section.pop(keys[-1], None)


def _useless_overrides(sweep: SweepSpec, source: Source) -> Iterator[Finding]:
    """A default that no trial would have: its field is always searched."""
    for path in source.overridden:
        parameter = sweep.search.parameters.get(dotted(path))
        if parameter is not None and not parameter.when:
            remedy = f"--set search.parameters.{dotted(path)}=null"
            yield Finding(path, f"is searched, so this has no effect; fix it with {remedy} as well")


def _file_order(fault: Fault) -> tuple[bool, int]:
    """The file's lines from top to bottom, then the overrides."""
    line = fault.where.rpartition(":")[2]
    return fault.where.startswith("--set"), int(line) if line.isdigit() else 0


def json_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of a search-space file, each key with its documentation."""
    schema = SweepSpec.model_json_schema()
    _clean(schema)
    definitions = schema["$defs"]
    _allow_mapping(definitions["TaskSpec"]["properties"]["benchmarks"])
    parameters = definitions["SearchSpec"]["properties"]["parameters"]
    parameters["propertyNames"] = _paths(SEARCHABLE_FIELDS)
    for domain in ("Choice", "Range"):
        properties = definitions[domain]["properties"]
        properties["when"]["propertyNames"] = _paths(SCALAR_FIELDS)
    names = {"type": "array", "items": {"type": "string"}}
    schema["properties"][EXTENDS] = {
        "anyOf": [{"type": "string"}, names],
        "description": EXTENDS_DOC,
    }
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _allow_mapping(benchmarks: dict[str, Any]) -> None:
    """``task.benchmarks`` is a list of names, or a mapping of names to specs or null."""
    listed = {key: benchmarks.pop(key) for key in ("type", "items", "minItems")}
    harness = {"type": "string", "pattern": f"^{PREFIX}"}
    listed["items"] = {"anyOf": [listed["items"], harness]}
    spec = {"anyOf": [{"$ref": "#/$defs/BenchmarkSpec"}, {"type": "null"}, harness]}
    mapping = {"type": "object", "minProperties": 1, "additionalProperties": spec}
    benchmarks["anyOf"] = [listed, mapping]


def _paths(fields: Sequence[str]) -> dict[str, Any]:
    """These fields, or any entry of a mapping."""
    patterns = [{"pattern": f"^{re.escape(mapping)}\\..+$"} for mapping in MAPPING_FIELDS]
    return {"anyOf": [{"enum": list(fields)}, *patterns]}


def _clean(node: Any) -> None:
    """Drop titles that only repeat a key, and show descriptions as one paragraph of Markdown."""
    if isinstance(node, list):
        for item in node:
            _clean(item)
    if not isinstance(node, dict):
        return
    if isinstance(node.get("title"), str):
        del node["title"]
    if isinstance(node.get("description"), str):
        node["description"] = " ".join(node["description"].replace("``", "`").split())
    for item in node.values():
        _clean(item)
