"""Confirmed decisions in plain words: which rate to use, and how sure that is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .confirmed import ConfirmedVerdict
from .sentences import NOTHING_ADVICE, nothing_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .confirmed import ConfirmedDecision, ConfirmedRate
    from .power import Detectable

CONFIRMED_CAVEAT = (
    "Confirmed: the same seeds and examples in every arm; intervals are 95 % and cover new seeds "
    "and new examples; a rate is called better or worse than p = 0 by luck in at most 5 % of such "
    "sweeps, for each line. Each rate has the other settings that the search found for it"
)
LIMITED_BY_EXAMPLES = 0.75
"""Seeds are no longer worth adding where examples alone leave this share of the gap."""
WITHOUT_CONTROLS = ", and a difference to p = 0 is theirs as well."
WITH_CONTROLS = (
    "; it is called better only where it also beats p = 0 with these settings, so that the gain is "
    "its own."
)


def confirmed_text(decision: ConfirmedDecision) -> str:
    """What to use, why, what cannot be told apart, and what would settle it."""
    if decision.is_withheld:
        return nothing_text(decision.benchmark, decision.reasons)
    if decision.best is None or decision.recommended is None:
        return f"{decision.benchmark}: {decision.verdict}"
    parts = [_advice(decision), _evidence(decision)]
    alike = sorted({arm.pruning_rate for arm in decision.groups[0]})
    if len(alike) > 1:
        rates = [f"{rate:g}" for rate in alike]
        parts.append(f"cannot tell {_listed(rates)} apart")
    if decision.unsettled is not None:
        parts.append(_needed(decision))
    parts += decision.remarks
    seeds = f"{decision.num_seeds} seeds, {decision.num_examples:,} examples"
    return f"{decision.benchmark}: {'; '.join(parts)} ({seeds})"


def confirmed_texts(decisions: Sequence[ConfirmedDecision]) -> str:
    """Every decision on a line, then what they are worth."""
    lines = [*map(confirmed_text, decisions)]
    if any(one.is_withheld for one in decisions):
        lines.append(NOTHING_ADVICE)
    # It tells what a decision is worth.
    if not all(one.is_withheld for one in decisions):
        lines.append(confirmed_caveat(decisions))
    return "\n".join(lines)


def confirmed_caveat(decisions: Sequence[ConfirmedDecision]) -> str:
    """What the decisions are worth."""
    has_controls = any(one.arm.control for decision in decisions for one in decision.rates)
    return CONFIRMED_CAVEAT + (WITH_CONTROLS if has_controls else WITHOUT_CONTROLS)


def _advice(decision: ConfirmedDecision) -> str:
    assert decision.recommended is not None, "a decision with rates recommends one"
    rate = decision.recommended.pruning_rate
    use = f"use p = {rate:g} ({decision.recommended.name})"
    match decision.verdict:
        case ConfirmedVerdict.BETTER:
            return f"{use}, which is {decision.verdict}"
        case ConfirmedVerdict.WORSE | ConfirmedVerdict.NO_GAIN:
            return f"{use}: {decision.verdict}"
        case _:
            reason = "the smallest rate within one standard error of the best"
            return f"{decision.verdict}; until then {use}, {reason}"


def _evidence(decision: ConfirmedDecision) -> str:
    """The recommended rate against p = 0, or, where that is p = 0, the best other rate."""
    others = [one for one in decision.rates if one.difference is not None]
    recommended = [one for one in others if one.arm == decision.recommended]
    [shown] = recommended or [max(others, key=lambda one: one.mean.value)]
    return (
        f"p = {shown.arm.pruning_rate:g} scores {shown.mean.as_score}, "
        f"{_difference(shown)}, and is best of all with {shown.probability_best:.0%} probability"
    )


def _difference(rate: ConfirmedRate) -> str:
    assert rate.difference is not None, "p = 0 is not compared with itself"
    text = f"{rate.difference.estimate.as_difference} against p = 0"
    if rate.own_difference is not None:
        own = rate.own_difference.estimate.as_difference
        text += f", {own} against p = 0 with its own other settings"
    return f"{text} (p-value {rate.adjusted_p_value:.2g} for all rates together)"


def _needed(decision: ConfirmedDecision) -> str:
    assert decision.unsettled is not None, "asked only where two rates are open"
    first, second = sorted(arm.pruning_rate for arm in decision.unsettled)
    text = f"cannot tell {second:g} from {first:g} yet"
    return (
        text if decision.detectable is None else f"{text}: {detectable_text(decision.detectable)}"
    )


def detectable_text(found: Detectable) -> str:
    """What more seeds would show, and what only more examples would."""
    more = f"{found.num_more_seeds} more seeds"
    examples = f"these {found.num_examples:,} examples"
    if found.gap is None:
        return f"{more} would show no gap, however large"
    text = f"{more} would show a true gap of {100 * found.gap:.1f} points in 4 of 5 such sweeps"
    if found.least_gap > LIMITED_BY_EXAMPLES * found.gap:
        text += (
            f", and no number of seeds one below {100 * found.least_gap:.1f} points on {examples}"
        )
    return text


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}"
