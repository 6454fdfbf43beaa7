"""What a sweep's ledger says of the best pruning rate: by search, by confirmation, on test."""

from __future__ import annotations

from typing import TYPE_CHECKING

from droplora_sweep.analysis.confirmed_text import confirmed_texts
from droplora_sweep.analysis.coverage import coverage, coverage_text
from droplora_sweep.analysis.finalists import ties_text
from droplora_sweep.analysis.on_test import winner_on_test_text, winners_on_test
from droplora_sweep.analysis.search_decision import best_per_benchmark
from droplora_sweep.analysis.sequential import is_undecided
from droplora_sweep.analysis.text import decisions_text
from droplora_sweep.analysis.winners import winners
from droplora_sweep.errors import SweepError

from .confirming import confirmation_of, wanted_on_test
from .grounds import Grounds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from droplora_sweep.analysis.confirmed import ConfirmedDecision
    from droplora_sweep.analysis.on_test import WinnerOnTest
    from droplora_sweep.analysis.references import ReferenceRow
    from droplora_sweep.analysis.search_decision import Decision
    from droplora_sweep.analysis.winners import Winner
    from droplora_sweep.ledger.reader import Ledger

    from .confirming import Confirmation


def decide(ledger: Ledger) -> list[Decision]:
    """The best pruning rate per benchmark, as far as search-stage trials tell.

    Raises:
        SweepError: No trial is complete.
    """
    found = best_per_benchmark(ledger.search_records(), ledger.scores)
    return Grounds(ledger).of_search(found)


def winners_of(ledger: Ledger) -> tuple[Winner, ...]:
    """The setting to use on each benchmark: the confirmed one, else the best of the search.

    Raises:
        SweepError: No trial is complete.
    """
    return winners(decide(ledger), confirmed(ledger), ledger.confirm_records())


def confirmed(ledger: Ledger) -> tuple[ConfirmedDecision, ...]:
    """The decision per benchmark from the confirmation stage; empty before its first look."""
    found = _confirmation(ledger)
    return () if found is None else _sound(ledger, found)


def on_test(ledger: Ledger) -> tuple[WinnerOnTest, ...]:
    """What the winners and p = 0 scored on the test split; empty before that."""
    found = _confirmation(ledger)
    if found is None:
        return ()
    runs = {
        (trial.arm, trial.spec["seed"]): ledger.test_scores(trial.trial_id) or {}
        for trial in ledger.confirm_records()
        if trial.is_tested and trial.arm is not None
    }
    return winners_on_test(found.questions, _sound(ledger, found), runs)


def references(ledger: Ledger, split: str | None = None) -> tuple[ReferenceRow, ...]:
    """What needs no training and has to be beaten, see `selection.references`.

    Args:
        ledger: The sweep's.
        split: Which examples; those that its decisions are from where None.
    """
    grounds = Grounds(ledger)
    if split is None:
        split = grounds.confirmed_on if confirmed(ledger) else "validation"
    return grounds.rows(split)


def protocol(ledger: Ledger) -> str:
    """By which protocol the sweep's responses are read."""
    return str(ledger.record.spec["evaluation"]["protocol"])


def conclusion(ledger: Ledger) -> str:
    """The decisions in words: confirmed where there are any, else exploratory and labelled so.

    Raises:
        SweepError: No trial is complete.
    """
    decisions = confirmed(ledger)
    if not decisions:
        return "\n".join([decisions_text(decide(ledger), protocol(ledger)), *notes(ledger)])
    lines = [confirmed_texts(decisions), *map(winner_on_test_text, on_test(ledger))]
    return "\n".join([*lines, *notes(ledger), f"Scores are by the {protocol(ledger)} protocol."])


def notes(ledger: Ledger) -> list[str]:
    """Lines on the rates that the answer does not speak of: tied, unconfirmed or never tried."""
    record, found = ledger.record, _confirmation(ledger)
    decisions = () if found is None else found.standing.decisions
    parameters = record.spec["search"]["parameters"]
    lines = [coverage_text(coverage(parameters, record.search_trials, decisions))]
    if decisions and found is not None:
        lines.insert(0, ties_text(found.questions))
    return [line for line in lines if line]


def stage_text(ledger: Ledger) -> str | None:
    """How far a sweep with a confirmation is; None for one without."""
    record = ledger.record
    if record.spec.get("confirm") is None:
        return None
    found = _confirmation(ledger)
    if found is None:
        return "stage: search"
    standing = found.standing
    if standing.missing:
        num_done = len(standing.needed) - len(standing.missing)
        seeds = len({seed for _, seed in standing.needed})
        return (
            f"stage: confirmation, {num_done} of {len(standing.needed)} runs "
            f"({found.num_arms} arms, {seeds} seeds)"
        )
    decisions = _sound(ledger, found)
    if wanted := wanted_on_test(found, decisions, record):
        return f"stage: test split, {len(wanted)} winners' runs to score"
    if decisions and all(one.is_withheld for one in decisions):
        return "stage: confirmation over, nothing to decide"
    why = standing.step.action.removeprefix("stop: ")
    return f"stage: confirmation over, {why}{_decided_text(decisions)}"


def _decided_text(decisions: Sequence[ConfirmedDecision]) -> str:
    """``: decided for arc; open for math, mean``; "" where all are the same."""
    is_open = [one.benchmark for one in decisions if is_undecided(one)]
    nothing = [one.benchmark for one in decisions if one.is_withheld]
    decided = [one.benchmark for one in decisions if one.benchmark not in (*is_open, *nothing)]
    kinds = (("decided for", decided), ("open for", is_open), ("nothing to decide for", nothing))
    parts = [f"{what} {', '.join(names)}" for what, names in kinds if names]
    return f": {'; '.join(parts)}" if len(parts) > 1 else ""


def summary(ledger: Ledger) -> dict[str, str]:
    """What the parent run shows, by file name; README.md is its description."""
    try:
        return {"README.md": conclusion(ledger)}
    except SweepError as error:
        return {"README.md": str(error)}


def _sound(ledger: Ledger, found: Confirmation) -> tuple[ConfirmedDecision, ...]:
    """Its decisions; those about nothing are withheld."""
    return Grounds(ledger).of_confirmation(found.standing.decisions)


def _confirmation(ledger: Ledger) -> Confirmation | None:
    record = ledger.record
    # Before its first run there is nothing to decide on, and the search may go on.
    return confirmation_of(record, ledger.scores) if record.confirm_trials else None
