"""Decisions in plain words."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .decisions import Comparison, Decision, Finalist

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
    if best.pruning_rate > 0 and decision.unpruned is not None:
        parts.append(f"best without pruning is {_finalist(decision.unpruned)}")
    if best.pruning_rate == 0 and decision.pruned is not None:
        parts.append(f"best with pruning is {_finalist(decision.pruned)}")
    if decision.comparison is not None:
        parts.append(_comparison(decision.comparison))
    parts += [decision.verdict.value, *decision.remarks]
    return f"{decision.benchmark}: {'; '.join(parts)}"


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
