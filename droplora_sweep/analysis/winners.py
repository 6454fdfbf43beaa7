"""Recommendations of a sweep per benchmark, and the rates that they speak of.

Where a benchmark's arms were confirmed, the recommended arm wins, and the trial that stands for it
is its first run: of equal runs the one with the best score would be the luckiest, not the best.
Else the best search-stage trial does, and is marked as exploratory.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from droplora_sweep.records.trial import TrialState

from .estimate import listed
from .evidence import has_rank, pruning_rate
from .grounds import rows_json
from .text import explored_text, nothing_text, verdict_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from droplora_sweep.records.trial import TrialRecord

    from .confirmed import ConfirmedDecision
    from .estimate import Estimate
    from .evidence import Arm
    from .grounds import ReferenceRow
    from .search_decision import Decision


RATE = "adapter.pruning_rate"
MOST_NAMED = 20
"""A space of more rates is described by its ends."""


def coverage_text(
    parameters: Mapping[str, Any],
    records: Sequence[TrialRecord],
    decisions: Sequence[ConfirmedDecision],
) -> str:
    """Return a line with the rates that nothing was decided of, each with how far it was tried.

    It is "" where every rate of the space was confirmed, or, without a confirmation, searched.

    Args:
        parameters: ``search.parameters`` as JSON values.
        records: The trials of the search stage, in any state.
        decisions: Those of the confirmation; empty before its first interim analysis.
    """
    tried = {(pruning_rate(one), one.state) for one in records if has_rank(one)}
    confirmed = {
        round(one.arm.pruning_rate, 9)
        for decision in decisions
        for one in decision.rates
        if one.difference is not None
    }
    known = confirmed | {0.0}
    searched = {rate for rate, state in tried if state == TrialState.COMPLETE} - known
    incomplete = {rate for rate, _ in tried} - known - searched
    domain = parameters.get(RATE) or {}
    space = _rates(domain)
    untried = set(space) - confirmed - {rate for rate, _ in tried}
    parts = []
    if confirmed and searched:
        parts.append(f"{_listed(searched)} (searched, not confirmed)")
    if incomplete:
        parts.append(f"{_listed(incomplete)} (no trial is complete)")
    if untried:
        parts.append(f"{_listed(untried)} (never tried)")
    if not space and "min" in domain:
        low, high = domain["min"], domain["max"]
        parts.append(f"any other rate from {low:g} to {high:g} (never tried)")
    return f"Not decided: {'; '.join(parts)}." if parts else ""


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


def _listed(rates: Iterable[float]) -> str:
    return f"p = {listed([f'{rate:g}' for rate in sorted(rates)])}"


SCHEMA = 1
"""Version of `winners_json`; a field is only ever added within one."""


@dataclass(frozen=True)
class Winner:
    """The setting to use on one benchmark.

    Attributes:
        benchmark: Its name, or ``mean``.
        kind: ``confirmed`` with several seeds, or ``exploratory`` from search-stage trials.
        pruning_rate: The rate to use; None where nothing can be said.
        trial_id: The trial that has the setting, and an adapter.
        mean: Its score with the 95 % interval: over seeds and examples where confirmed, over
            examples alone where not. None without per-example results.
        difference: To p = 0; None for p = 0 itself, and where the two cannot be compared.
        p_value: Of that difference, corrected for the number of settings compared.
        verdict: In few words, the same for every sweep.
        statement: The same of the rates that were compared, by their names.
        reasons: Reasons why there is nothing to decide; empty where there is.
    """

    benchmark: str
    kind: Literal["confirmed", "exploratory"]
    pruning_rate: float | None
    trial_id: str | None
    mean: Estimate | None
    difference: Estimate | None
    p_value: float | None
    verdict: str
    statement: str = ""
    reasons: tuple[str, ...] = ()

    @property
    def conclusion(self) -> str:
        """The verdict, with why there is nothing to decide."""
        return ": ".join([self.verdict, *filter(None, ["; ".join(self.reasons)])])


def winners(
    explored: Sequence[Decision],
    confirmed: Sequence[ConfirmedDecision],
    runs: Sequence[TrialRecord],
) -> tuple[Winner, ...]:
    """One winner per benchmark, in the order of the exploratory decisions.

    Args:
        explored: From the search stage.
        confirmed: From the confirmation stage; empty where there was none.
        runs: The confirmation trials.
    """
    by_name = {decision.benchmark: decision for decision in confirmed}
    return tuple(
        _confirmed(by_name.get(decision.benchmark), runs) or _explored(decision)
        for decision in explored
    )


def _confirmed(decision: ConfirmedDecision | None, runs: Sequence[TrialRecord]) -> Winner | None:
    """Return None where the runs say nothing, or none of the recommended arm's is complete."""
    if decision is None:
        return None
    rate = decision.used
    trial = None if rate is None else first_run(rate.arm, runs)
    if trial is None and not decision.is_withheld:
        return None
    difference = None if rate is None else rate.difference
    return Winner(
        benchmark=decision.benchmark,
        kind="confirmed",
        pruning_rate=None if rate is None else rate.arm.pruning_rate,
        trial_id=trial,
        mean=None if rate is None else rate.mean,
        difference=None if difference is None else difference.estimate,
        p_value=None if rate is None else rate.adjusted_p_value,
        verdict=decision.verdict.value,
        statement=verdict_text(decision),
        reasons=decision.reasons,
    )


def first_run(arm: Arm, runs: Sequence[TrialRecord]) -> str | None:
    """The trial that stands for an arm: of its complete runs the first, not the luckiest."""
    complete = [run for run in runs if run.arm == arm.name and run.state == TrialState.COMPLETE]
    return min(complete, key=lambda run: run.number).trial_id if complete else None


def _explored(decision: Decision) -> Winner:
    best = decision.used
    test = None if best is None or best.pruning_rate == 0 else decision.paired_test
    return Winner(
        benchmark=decision.benchmark,
        kind="exploratory",
        pruning_rate=None if best is None else best.pruning_rate,
        trial_id=None if best is None else best.trial_id,
        mean=None if best is None else best.estimate,
        difference=None if test is None else test.difference,
        p_value=None if test is None else test.adjusted_p_value,
        verdict=decision.verdict.value,
        statement=explored_text(decision),
        reasons=decision.reasons,
    )


def winner_text(winner: Winner) -> str:
    """One line."""
    if winner.reasons:
        return nothing_text(winner.benchmark, winner.reasons)
    if winner.pruning_rate is None:
        return f"{winner.benchmark}: {winner.verdict}"
    parts = [f"{winner.benchmark}: p = {winner.pruning_rate:g} ({winner.trial_id})"]
    if winner.mean is not None:
        parts.append(f"with {winner.mean.as_score}")
    if winner.difference is not None:
        parts.append(f"{winner.difference.as_difference} against p = 0")
    return f"{', '.join(parts)}; {winner.statement}; {winner.kind}"


def adapters_text(found: Sequence[Winner]) -> str:
    """One line: the trial whose adapter goes with each answer; "" where there is none."""
    named = [
        f"{winner.benchmark} {winner.trial_id} (p = {winner.pruning_rate:g})"
        for winner in found
        if winner.trial_id is not None
    ]
    return f"Adapters (`export --task`, `register`): {', '.join(named)}" if named else ""


def winner_tags(winner: Winner) -> dict[str, str]:
    """Return a registered version's tags on how it was chosen; it may win several benchmarks."""
    tags = {"kind": winner.kind, "verdict": winner.statement or winner.verdict}
    if winner.pruning_rate is not None:
        tags["pruning_rate"] = f"{winner.pruning_rate:g}"
    if winner.mean is not None:
        tags["score"] = winner.mean.as_score
    return {f"{winner.benchmark}/{name}": value for name, value in tags.items()}


def winners_json(
    sweep: str,
    protocol: str,
    found: Sequence[Winner],
    settings: Mapping[str, Mapping[str, Any]],
    references: Sequence[ReferenceRow] = (),
) -> dict[str, Any]:
    """For other programs: every field is always there, null where there is no value.

    Args:
        sweep: The sweep's name.
        protocol: Name of the protocol that responses were read by.
        found: One winner per benchmark.
        settings: By trial id, its searched fields by dotted path.
        references: Scores to beat, on the examples that decided.
    """
    benchmarks = []
    for winner in found:
        fields = asdict(winner)
        setting = settings.get(winner.trial_id or "")
        fields["setting"] = None if setting is None else dict(setting)
        fields["trial"] = fields.pop("trial_id")
        fields["references"] = rows_json(references, winner.benchmark)
        benchmarks.append(fields)
    return {"schema": SCHEMA, "sweep": sweep, "protocol": protocol, "benchmarks": benchmarks}
