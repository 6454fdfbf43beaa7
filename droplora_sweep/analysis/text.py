"""Decisions in plain words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .search_decision import Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .search_decision import Comparison, Decision, Finalist

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
    parts = [f"best is {_finalist(best)}"]
    if decision.tied:
        names = " and ".join(f"p = {one.pruning_rate:g} ({one.trial_id})" for one in decision.tied)
        parts.append(f"{names} {'scores' if len(decision.tied) == 1 else 'score'} the same")
    if best.pruning_rate > 0 and decision.unpruned is not None:
        parts.append(f"best without pruning is {_finalist(decision.unpruned)}")
    if best.pruning_rate == 0 and decision.pruned is not None:
        parts.append(f"best with pruning is {_finalist(decision.pruned)}")
    if decision.comparison is not None:
        parts.append(_comparison(decision.comparison))
    parts += [explored_text(decision), *decision.remarks]
    return f"{decision.benchmark}: {'; '.join(parts)}"


def explored_text(decision: Decision) -> str:
    """What the search says of its best rate above 0 against p = 0, by its name."""
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


def _finalist(finalist: Finalist) -> str:
    known = finalist.estimate
    score = f"{finalist.score:.1%}" if known is None else known.as_score
    method = "" if finalist.method in ("lora", "droplora") else f"{finalist.method}, "
    trial = f"{finalist.trial_id}, {method}rank {finalist.rank}"
    return f"p = {finalist.pruning_rate:g} ({trial}) with {score}"


def _comparison(comparison: Comparison) -> str:
    text = f"difference {comparison.difference.as_difference}, p-value {comparison.p_value:.2g}"
    if comparison.num_compared > 1:
        text += (
            f", {comparison.adjusted_p_value:.2g} after correction for the choice among "
            f"{comparison.num_compared} trials"
        )
    return text
