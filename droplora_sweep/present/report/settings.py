"""What a sweep was, for who wants to repeat or to doubt it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from droplora_sweep.records.trial import SweepRecord

SECTIONS = ("model", "task", "adapter", "training", "evaluation", "search", "confirm", "group")


def setting_rows(record: SweepRecord) -> tuple[tuple[str, str], ...]:
    """Every setting by dotted path, then versions and data, as texts."""
    rows = [
        (path, setting_text(value))
        for section in SECTIONS
        for path, value in leaves(section, record.spec.get(section))
    ]
    rows += [(f"version of {name}", version) for name, version in record.versions.items()]
    rows += [(f"data of {name}", digest[:16]) for name, digest in record.data_digests.items()]
    return tuple(rows)


def leaves(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Each value under a path that is set, by its dotted path."""
    if isinstance(value, dict):
        yield from _children(path, value)
    elif value is not None and value != []:
        yield path, value


def _children(path: str, value: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, child in value.items():
        yield from leaves(f"{path}.{name}", child)


def setting_text(value: object) -> str:
    """A setting as a file has it."""
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return str(value).lower()
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
