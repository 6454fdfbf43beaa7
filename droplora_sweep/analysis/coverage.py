"""Which pruning rates of a search space the answer speaks of, and which it cannot speak of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .trials import has_rank, pruning_rate

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .confirmed import ConfirmedDecision
    from .trials import TrialRecord

RATE = "adapter.pruning_rate"
MOST_NAMED = 20
"""A space of more rates is described by its ends."""


@dataclass(frozen=True)
class Coverage:
    """The rates of a space by what is known of them; each ascending.

    Attributes:
        confirmed: Compared with p = 0 in the confirmation, on one benchmark or more; p = 0 itself
            is not among them.
        searched: Others above 0 with a complete trial in the search.
        incomplete: Others above 0 that were tried and have no complete trial.
        untried: Rates of the space that no trial had; empty where the space is continuous.
        span: Ends of a continuous space; None where the space is a list.
    """

    confirmed: tuple[float, ...]
    searched: tuple[float, ...]
    incomplete: tuple[float, ...]
    untried: tuple[float, ...]
    span: tuple[float, float] | None = None


def coverage(
    parameters: Mapping[str, Any],
    records: Sequence[TrialRecord],
    decisions: Sequence[ConfirmedDecision],
) -> Coverage:
    """Sort the rates of a search space.

    Args:
        parameters: ``search.parameters`` as JSON values.
        records: The trials of the search stage, in any state.
        decisions: Those of the confirmation; empty before its first interim analysis.
    """
    records = [record for record in records if has_rank(record)]
    confirmed = {
        round(one.arm.pruning_rate, 9)
        for decision in decisions
        for one in decision.rates
        if one.difference is not None
    }
    complete = {pruning_rate(one) for one in records if one.state == "COMPLETE"} - {0.0} - confirmed
    tried = {pruning_rate(one) for one in records} - {0.0} - confirmed - complete
    domain = parameters.get(RATE) or {}
    space = _rates(domain)
    known = confirmed | complete | tried | {pruning_rate(one) for one in records}
    is_continuous = not space and "min" in domain
    return Coverage(
        confirmed=tuple(sorted(confirmed)),
        searched=tuple(sorted(complete)),
        incomplete=tuple(sorted(tried)),
        untried=tuple(sorted(set(space) - known)),
        span=(domain["min"], domain["max"]) if is_continuous else None,
    )


def coverage_text(found: Coverage) -> str:
    """One line: the rates that nothing was decided of, each with how far it was tried.

    "" where every rate of the space was confirmed, or, without a confirmation, searched.
    """
    parts = []
    if found.confirmed and found.searched:
        parts.append(f"{_listed(found.searched)} (searched, not confirmed)")
    if found.incomplete:
        parts.append(f"{_listed(found.incomplete)} (no trial is complete)")
    if found.untried:
        parts.append(f"{_listed(found.untried)} (never tried)")
    if found.span is not None:
        low, high = found.span
        parts.append(f"any other rate from {low:g} to {high:g} (never tried)")
    return f"This does not speak of {'; '.join(parts)}." if parts else ""


def _rates(domain: Mapping[str, Any]) -> list[float]:
    """Every rate of a domain; empty where there are too many to name, or where they are ratios."""
    if domain.get("ratio_of"):
        return []
    if "values" in domain:
        return [round(float(value), 9) for value in domain["values"]]
    if not domain.get("step"):
        return []
    number = int((domain["max"] - domain["min"]) / domain["step"] + 1e-9) + 1
    if number > MOST_NAMED:
        return []
    return [round(domain["min"] + index * domain["step"], 9) for index in range(number)]


def _listed(rates: Sequence[float]) -> str:
    names = [f"{rate:g}" for rate in rates]
    return f"p = {' and '.join(filter(None, [', '.join(names[:-1]), names[-1]]))}"
