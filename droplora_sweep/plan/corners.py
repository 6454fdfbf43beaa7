"""Trials at the ends of a search space, which bound what any other trial takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from droplora_sweep.spec import possible_values
from droplora_sweep.spec.composition import MASK, METHOD, RANK, RATE, combinations, pruning_rates
from droplora_sweep.spec.fields import with_fields
from droplora_sweep.spec.parameters import is_number

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from droplora_sweep.spec import SweepSpec, TrialSpec


def corners(sweep: SweepSpec, paths: Sequence[str]) -> Iterator[TrialSpec]:
    """Trials with every combination of the ends of these fields, all else at its default."""
    for fields in combinations(paths, sweep):
        yield with_fields(sweep.trial, fields)


def adapter_corners(sweep: SweepSpec) -> Iterator[TrialSpec]:
    """Trials at the extremes of what decides how much is trained and saved."""
    searched = [path for path in pruning_rates(sweep)[1:] if path in sweep.search.parameters]
    ends = {path: _ends(path, sweep) for path in searched}
    for trial in corners(sweep, (METHOD, MASK, RANK, RATE)):
        # A gate is a few numbers, so module rates need no combinations of their own.
        for end in (0, -1) if searched else (0,):
            yield with_fields(trial, {path: ends[path][end] for path in searched})


def _ends(path: str, sweep: SweepSpec) -> list[int | float]:
    return sorted(value for _, value in possible_values(path, sweep) if is_number(value))
