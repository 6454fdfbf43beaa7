"""Methods side by side, as in the paper's tables: the best setting of each, found alike.

Exploratory, as all that search-stage trials tell: the best of a variant's trials was picked on the
examples that score it, with one seed. The number of trials stands beside each row, since the best
of many is higher by luck alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from droplora_sweep.spec.methods import method_of
from droplora_sweep.spec.metric_names import MEAN

from .evidence import Candidate, benchmarks, candidates, parts_of, subjects_of
from .pairing import mean_difference, pairings, score_estimate
from .paper import PaperComparison, compare_with_paper

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from droplora_sweep.records.trial import TrialRecord

    from .estimate import Estimate
    from .evidence import Scores

METHOD = "adapter.method"


@dataclass(frozen=True)
class MethodRow:
    """One variant.

    Attributes:
        variant: Its values of the compared fields, by dotted path.
        num_trials: Trials it had, whatever became of them.
        num_complete: Trials that may be chosen.
        best: Its best complete trial by the mean, or by the one benchmark; None without one.
        settings: Values that the search chose for ``best``, the variant's apart.
        scores: Of ``best``, a fraction by benchmark and ``mean``.
        intervals: The same with their 95 % intervals; without those that have no results.
        difference: Mean of ``best`` minus that of the reference's, paired by examples; None for
            the reference, and where they cannot be paired.
        paper: The paper's row of the same model, method and benchmarks; None without one.
    """

    variant: Mapping[str, Any]
    num_trials: int
    num_complete: int
    best: str | None
    settings: Mapping[str, Any]
    scores: Mapping[str, float]
    intervals: Mapping[str, Estimate]
    difference: Estimate | None
    paper: PaperComparison | None


@dataclass(frozen=True)
class MethodTable:
    """Every variant, in the order in which they were first run.

    Attributes:
        benchmarks: Columns; ``mean`` is the last where there are several.
        rows: One per variant.
        reference: Index of the row that the others are compared with: LoRA without pruning, else
            the first.
    """

    benchmarks: tuple[str, ...]
    rows: tuple[MethodRow, ...]
    reference: int


def compared_fields(sweep: Mapping[str, Any]) -> tuple[str, ...]:
    """The fields whose values make a variant: ``search.compare``, else the method if searched.

    Args:
        sweep: A ``SweepSpec`` as JSON values.
    """
    search = sweep["search"]
    compared = tuple(search.get("compare") or ())
    return compared or ((METHOD,) if METHOD in search["parameters"] else ())


def compare_methods(
    records: Sequence[TrialRecord],
    fields: Sequence[str],
    results: Callable[[str], Scores | None],
) -> MethodTable | None:
    """The best setting of each variant.

    Args:
        records: Search-stage trials, in any state.
        fields: Dotted paths whose values make a variant; see ``compared_fields``.
        results: Gives a trial's per-example results by its id, or None.

    Returns:
        None where there is nothing to compare: no such field, or one variant alone.
    """
    groups: dict[tuple[Any, ...], list[TrialRecord]] = {}
    for record in records:
        key = tuple(_value(record.spec, path) for path in fields)
        groups.setdefault(key, []).append(record)
    if not fields or len(groups) < 2:
        return None
    names = benchmarks(records)
    subject = subjects_of(names)[-1]
    chosen = {one.trial_id: one for one in candidates(records)}
    best = {key: _best(some, chosen, subject) for key, some in groups.items()}
    reference = next(
        (key for key, some in groups.items() if _is_plain(some[0])), next(iter(groups))
    )
    known = {one.trial_id: results(one.trial_id) for one in best.values() if one is not None}
    rows = []
    for key, some in groups.items():
        winner, other = best[key], best[reference]
        difference = None
        if key != reference and winner is not None and other is not None:
            difference = _difference(known[winner.trial_id], known[other.trial_id], names)
        rows.append(
            _row(dict(zip(fields, key, strict=True)), some, chosen, winner, known, difference)
        )
    return MethodTable(subjects_of(names), tuple(rows), list(groups).index(reference))


def _row(
    variant: Mapping[str, Any],
    records: Sequence[TrialRecord],
    chosen: Mapping[str, Candidate],
    winner: Candidate | None,
    known: Mapping[str, Scores | None],
    difference: Estimate | None,
) -> MethodRow:
    record = next((one for one in records if winner and one.trial_id == winner.trial_id), None)
    scores = {} if winner is None else dict(winner.scores)
    found = None if winner is None else known[winner.trial_id]
    names = [name for name in scores if name != MEAN]
    estimates = {name: score_estimate(found, parts_of(name, names)) for name in scores}
    params = {} if record is None else record.params
    return MethodRow(
        variant=variant,
        num_trials=len(records),
        num_complete=sum(one.trial_id in chosen for one in records),
        best=None if winner is None else winner.trial_id,
        settings={path: value for path, value in params.items() if path not in variant},
        scores=scores,
        intervals={name: one for name, one in estimates.items() if one is not None},
        difference=difference,
        paper=compare_with_paper((record or records[0]).spec),
    )


def _best(
    records: Sequence[TrialRecord], chosen: Mapping[str, Candidate], subject: str
) -> Candidate | None:
    """The highest score; of equal ones the first."""
    complete = [chosen[one.trial_id] for one in records if one.trial_id in chosen]
    scored = [one for one in complete if subject in one.scores]
    return min(scored, key=lambda one: (-one.scores[subject], one.number), default=None)


def _difference(
    first: Scores | None, second: Scores | None, names: Sequence[str]
) -> Estimate | None:
    pairs = pairings(first, second, names)
    return None if pairs is None else mean_difference(pairs)


def _is_plain(record: TrialRecord) -> bool:
    """Return True of LoRA without pruning."""
    adapter = record.spec["adapter"]
    return method_of(adapter["method"]).is_lora and adapter["pruning_rate"] == 0


def _value(spec: Mapping[str, Any], path: str) -> Any:
    value: Any = spec
    for name in path.split("."):
        value = value[name]
    return value
