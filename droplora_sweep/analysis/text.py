"""Decisions in plain words: which rate to use, and how sure that is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from droplora_sweep.spec.methods import method_of

from .confirmed import ConfirmedVerdict, DropReason
from .estimate import listed
from .search_decision import Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .confirmed import ConfirmedDecision, ConfirmedRate, Dropped
    from .interim import Detectable
    from .search_decision import BestTrial, Decision, PairedTest


CAVEAT = (
    "Exploratory: search-stage trials with one seed each, scored on the split they are chosen on; "
    "intervals are 95 % and cover the choice of examples alone."
)


WHAT_HELPS = (
    "train longer (training.epochs, task.num_train), with another learning rate, or take a "
    "stronger base model"
)
NOTHING_ADVICE = f"Where there is nothing to decide, {WHAT_HELPS}."


def decision_text(decision: Decision) -> str:
    """One line: the best trial, the best of the other side, how they compare, the verdict."""
    best = decision.best
    if decision.is_withheld:
        return nothing_text(decision.benchmark, decision.reasons)
    if best is None:
        return f"{decision.benchmark}: {decision.verdict}"
    parts = [f"best is {_best_trial_text(best)}"]
    if decision.tied:
        names = " and ".join(f"p = {one.pruning_rate:g} ({one.trial_id})" for one in decision.tied)
        parts.append(f"{names} {'scores' if len(decision.tied) == 1 else 'score'} the same")
    if best.pruning_rate > 0 and decision.unpruned is not None:
        parts.append(f"best without pruning is {_best_trial_text(decision.unpruned)}")
    if best.pruning_rate == 0 and decision.pruned is not None:
        parts.append(f"best with pruning is {_best_trial_text(decision.pruned)}")
    if decision.paired_test is not None:
        parts.append(_test_text(decision.paired_test))
    parts += [explored_text(decision), *decision.remarks]
    return f"{decision.benchmark}: {'; '.join(parts)}"


def explored_text(decision: Decision) -> str:
    """Return the search's verdict on its best rate above 0, by its name."""
    rate = "" if decision.pruned is None else f"p = {decision.pruned.pruning_rate:g}"
    match decision.verdict:
        case Verdict.BETTER | Verdict.WORSE:
            return f"{rate} is {decision.verdict}"
        case Verdict.CANNOT_TELL:
            return f"cannot tell {rate} from p = 0"
        case _:
            return decision.verdict.value


def nothing_text(benchmark: str, reasons: Sequence[str]) -> str:
    """One line: that there is nothing to decide, and why."""
    return f"{benchmark}: nothing to decide: {'; '.join(reasons)}"


def decisions_text(decisions: Sequence[Decision], protocol: str) -> str:
    """Every decision on a line, then how responses were read, and what it is worth."""
    read = f"Scores are by the {protocol} protocol."
    advice = [NOTHING_ADVICE] if any(one.is_withheld for one in decisions) else []
    return "\n".join([*map(decision_text, decisions), *advice, read, CAVEAT])


def _best_trial_text(best: BestTrial) -> str:
    known = best.estimate
    score = f"{best.score:.1%}" if known is None else known.as_score
    method = "" if method_of(best.method).is_lora else f"{best.method}, "
    trial = f"{best.trial_id}, {method}rank {best.rank}"
    return f"p = {best.pruning_rate:g} ({trial}) with {score}"


def _test_text(test: PairedTest) -> str:
    text = f"difference {test.difference.as_difference}, p-value {test.p_value:.2g}"
    if test.num_compared > 1:
        text += (
            f", {test.adjusted_p_value:.2g} after correction for the choice among "
            f"{test.num_compared} trials"
        )
    return text


CONFIRMED_CAVEAT = (
    "Confirmed: the same seeds and examples in every arm; intervals are 95 % and cover new seeds "
    "and new examples; a rate is called better or worse than p = 0 by luck in at most 5 % of such "
    "sweeps, for each line. Each rate has the other settings that the search found for it"
)
LIMITED_BY_EXAMPLES = 0.75
"""Seeds are no longer worth adding where examples alone leave this share of the gap."""
COMPARED = (
    ConfirmedVerdict.BETTER,
    ConfirmedVerdict.WORSE,
    ConfirmedVerdict.CANNOT_TELL,
    ConfirmedVerdict.DROPPED,
)
"""Verdicts that say of each rate how it compares with p = 0."""
WITHOUT_CONTROLS = ", and a difference to p = 0 is theirs as well."
WITH_CONTROLS = (
    "; it is called better only where it also beats p = 0 with these settings, so that the gain is "
    "its own."
)


def confirmed_text(decision: ConfirmedDecision) -> str:
    """Return what to use, why, what cannot be distinguished, and what would settle it."""
    if decision.is_withheld:
        return nothing_text(decision.benchmark, decision.reasons)
    if decision.best is None or decision.recommended is None:
        return f"{decision.benchmark}: {decision.verdict}"
    parts = [_advice(decision), _evidence(decision), *map(dropped_text, dropped_arms(decision))]
    said = [{0.0, rate} for rate in _open_rates(decision)]
    alike = {arm.pruning_rate for arm in decision.groups[0]}
    if len(alike) > 1 and alike not in said:
        parts.append(f"cannot tell {listed([f'{rate:g}' for rate in sorted(alike)])} apart")
        said.append(alike)
    if decision.unsettled is not None:
        is_said = {arm.pruning_rate for arm in decision.unsettled} in said
        parts += filter(None, [_needed(decision, is_said=is_said)])
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
    """Return what the decisions are worth."""
    has_controls = any(one.arm.control for decision in decisions for one in decision.rates)
    return CONFIRMED_CAVEAT + (WITH_CONTROLS if has_controls else WITHOUT_CONTROLS)


def verdict_text(decision: ConfirmedDecision) -> str:
    """Return how each confirmed rate compares with p = 0, by its name."""
    compared = [one for one in decision.rates if one.difference is not None]
    if decision.verdict is ConfirmedVerdict.NO_GAIN:
        gain = "gains" if len(compared) == 1 else "gain"
        return f"{_rates(compared)} {gain} too little over p = 0 to matter"
    if decision.verdict not in COMPARED:
        return decision.verdict.value
    better = [one for one in compared if one.is_clear and _gain(one) > 0]
    worse = [one for one in compared if one.is_clear and _gain(one) < 0]
    parts = [
        f"{_rates(some)} {'is' if len(some) == 1 else 'are'} {how} than p = 0"
        for some, how in ((better, "better"), (worse, "worse"))
        if some
    ]
    parts += _unlikely_texts(compared)
    if is_open := _open_rates(decision):
        parts.append(f"cannot tell p = {listed([f'{rate:g}' for rate in is_open])} from p = 0 yet")
    text = ", ".join(parts)
    if unsure := [one for one in worse if _may_be_as_good(one)]:
        text += (
            f", but it is open whether p = 0 with the settings of {_rates(unsure)} is better too"
        )
    return text


def dropped_arms(decision: ConfirmedDecision) -> list[Dropped]:
    """Return the arms that were dropped, in the order in which they were."""
    found = [one.dropped for one in decision.rates if one.dropped is not None]
    return sorted(found, key=lambda one: one.num_seeds)


def dropped_text(dropped: Dropped) -> str:
    """Return when and why an arm got no more seeds; only where it is worse, that is claimed.

    ``p = 0.4 was dropped after 3 seeds: 4.1 points behind p = 0.3, hardly able to catch up
    (chance 1%)``
    """
    rival = f"p = {dropped.rival.pruning_rate:g}"
    if dropped.rival.pruning_rate == 0 and dropped.rival.name == dropped.arm.control:
        rival = "p = 0 with its own other settings"
    gap = f"{100 * abs(dropped.gap):.1f} points {'ahead of' if dropped.gap > 0 else 'behind'}"
    text = (
        f"p = {dropped.arm.pruning_rate:g} was dropped after {dropped.num_seeds} seeds: "
        f"{gap} {rival}"
    )
    match dropped.reason:
        case DropReason.WORSE:
            return f"{text}, which is worse"
        case DropReason.BEHIND:
            return f"{text}, hardly able to catch up ({_chance(dropped)})"
        case DropReason.FUTILE:
            return f"{text}, hardly able to be shown better ({_chance(dropped)})"


def dropped_label(rate: ConfirmedRate) -> str:
    """Return ``, dropped after 3 seeds``; "" for an arm that was not."""
    return "" if rate.dropped is None else f", dropped after {rate.dropped.num_seeds} seeds"


def _chance(dropped: Dropped) -> str:
    assert dropped.chance is not None, "a prediction has a chance"
    return "chance below 1%" if dropped.chance < 0.01 else f"chance {dropped.chance:.0%}"


def _unlikely_texts(rates: Sequence[ConfirmedRate]) -> list[str]:
    """Return what is unlikely of the rates that were dropped without a claim."""
    kinds: dict[str, list[ConfirmedRate]] = {}
    for one in rates:
        if one.dropped is not None and not one.is_clear:
            rival = f"p = {one.dropped.rival.pruning_rate:g}"
            is_behind = one.dropped.reason is DropReason.BEHIND
            what = f"catch up with {rival}" if is_behind else "be shown better than p = 0"
            kinds.setdefault(what, []).append(one)
    return [
        f"{_rates(some)} {'is' if len(some) == 1 else 'are'} unlikely to {what}"
        for what, some in kinds.items()
    ]


def arm_labels(decision: ConfirmedDecision) -> dict[str, str]:
    """Return each arm's label in a table, by its name; no two are alike.

    ``p = 0.2``; ``p = 0, settings of 0.2`` for its control; ``p = 0`` for the best that p = 0 has.
    """
    arms = [one.arm for one in (*decision.rates, *decision.controls)]
    controlled: dict[str, list[str]] = {}
    for arm in arms:
        if arm.control is not None:
            controlled.setdefault(arm.control, []).append(f"{arm.pruning_rate:g}")
    is_control = {one.arm.name for one in decision.controls}
    labels = {}
    for arm in arms:
        labels[arm.name] = f"p = {arm.pruning_rate:g}"
        if arm.name in is_control:
            rates = listed(controlled.get(arm.name) or [arm.name])
            labels[arm.name] += f", settings of {rates}"
    return labels


def _open_rates(decision: ConfirmedDecision) -> list[float]:
    """The rates that cannot be told from p = 0 and were not dropped, where the verdict says so."""
    if decision.verdict not in COMPARED:
        return []
    return [
        one.arm.pruning_rate
        for one in decision.rates
        if one.difference is not None and not one.is_clear and one.dropped is None
    ]


def _gain(rate: ConfirmedRate) -> float:
    assert rate.difference is not None, "p = 0 is not compared with itself"
    return rate.difference.estimate.value


def _may_be_as_good(rate: ConfirmedRate) -> bool:
    """Return True where its control's interval leaves open that pruning costs nothing."""
    own = rate.own_difference
    return own is not None and own.estimate.low <= 0 <= own.estimate.high


def _rates(rates: Sequence[ConfirmedRate]) -> str:
    """``p = 0.2 and 0.4``."""
    return f"p = {listed([f'{one.arm.pruning_rate:g}' for one in rates])}"


def _advice(decision: ConfirmedDecision) -> str:
    assert decision.recommended is not None, "a decision with rates recommends one"
    rate = decision.recommended.pruning_rate
    use = f"use p = {rate:g} ({decision.recommended.name})"
    if decision.verdict is ConfirmedVerdict.CANNOT_TELL:
        reason = "the smallest rate within one standard error of the best"
        return f"{verdict_text(decision)}; until then {use}, {reason}"
    return f"{use}: {verdict_text(decision)}"


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


def _needed(decision: ConfirmedDecision, *, is_said: bool) -> str:
    """Return what would distinguish the open pair, and that it is open unless that was said."""
    assert decision.unsettled is not None, "asked only where two rates are open"
    first, second = sorted(arm.pruning_rate for arm in decision.unsettled)
    text = "" if is_said else f"cannot tell {second:g} from {first:g} yet"
    found = decision.detectable
    return ": ".join(filter(None, [text, "" if found is None else detectable_text(found)]))


def detectable_text(found: Detectable) -> str:
    """Return what more seeds would show, and what only more examples would."""
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
