"""Decision on the best pruning rate, per benchmark and on average, from search-stage trials.

The decisions are exploratory. Each trial has one seed, the best of many is picked on the same
validation examples that score it, and rank, alpha and learning rate vary along with the pruning
rate. The intervals and tests cover the choice of examples, not the luck of a seed.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING

from droplora_sweep.errors import SweepError
from droplora_sweep.records.trial import TrialState

from .evidence import (
    Candidate,
    benchmarks,
    candidates,
    has_rank,
    parts_of,
    pruning_rate,
    subjects_of,
)
from .pairing import mean_difference, p_value, pairings, score_estimate

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from droplora_sweep.records.trial import TrialRecord

    from .estimate import Estimate
    from .evidence import Scores

SIGNIFICANCE = 0.05
TIE = 1e-9
"""Scores that differ by less are equal but for rounding."""


class Verdict(StrEnum):
    """The comparison of the best p > 0 trial with the best p = 0 trial."""

    BETTER = "better than p = 0"
    WORSE = "worse than p = 0"
    CANNOT_TELL = "cannot tell from p = 0"
    NO_BASELINE = "no p = 0 trial is complete"
    NO_PRUNED = "no p > 0 trial is complete"
    NOT_PAIRED = "not compared with p = 0: no results on the same examples"
    NO_SCORE = "no complete trial has a score"
    NOTHING = "nothing to decide"


@dataclass(frozen=True)
class BestTrial:
    """The best trial of some set on one benchmark.

    Attributes:
        trial_id: Name of the trial.
        number: Position in the search.
        pruning_rate: Its pruning rate.
        method: Its method.
        rank: Rank of its adapter.
        score: Validation score, a fraction.
        estimate: Score with its 95 % interval; None without per-example results.
    """

    trial_id: str
    number: int
    pruning_rate: float
    method: str
    rank: int
    score: float
    estimate: Estimate | None


@dataclass(frozen=True)
class PairedTest:
    """The best p > 0 trial against the best p = 0 trial, on the same examples.

    Attributes:
        difference: p > 0 minus p = 0, with the 95 % interval of this pair.
        p_value: Of this pair, two-sided, as if the pair had been named in advance.
        num_compared: Among how many trials the one that is ahead was picked.
        adjusted_p_value: Bonferroni: ``p_value`` times ``num_compared``, at most 1.
    """

    difference: Estimate
    p_value: float
    num_compared: int
    adjusted_p_value: float


@dataclass(frozen=True)
class RateRow:
    """The trials of one pruning rate on one benchmark.

    Attributes:
        pruning_rate: The rate.
        best: Its best complete trial, None without one.
        num_complete: Complete trials; only they can be chosen.
        num_stopped: Trials the scheduler stopped early.
        num_failed: Trials without a result.
    """

    pruning_rate: float
    best: BestTrial | None
    num_complete: int
    num_stopped: int
    num_failed: int


@dataclass(frozen=True)
class Decision:
    """The answer for one benchmark, or for ``mean``.

    Attributes:
        benchmark: Its name.
        best: The best trial of all.
        pruned: The best with p > 0.
        unpruned: The best with p = 0.
        paired_test: ``pruned`` against ``unpruned``, None where it cannot be made.
        verdict: The outcome of that test.
        rates: One row per pruning rate, ascending.
        reasons: Reasons why there is nothing to decide; empty where there is (see `grounds`).
        remarks: Facts to know of single arms where there is.
        tied: The best trials of other rates that score as well as ``best``.
    """

    benchmark: str
    best: BestTrial | None
    pruned: BestTrial | None
    unpruned: BestTrial | None
    paired_test: PairedTest | None
    verdict: Verdict
    rates: tuple[RateRow, ...]
    reasons: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    tied: tuple[BestTrial, ...] = ()

    @property
    def used(self) -> BestTrial | None:
        """The trial to use; None without a score, and where there is nothing to decide.

        Without evidence for a gain the plain method stands; a tie is no reason to prune.
        """
        if self.is_withheld:
            return None
        return self.unpruned if self.verdict is Verdict.WORSE else self.best

    @property
    def is_withheld(self) -> bool:
        """True where there is nothing to decide."""
        return self.verdict is Verdict.NOTHING

    def withheld(self, reasons: tuple[str, ...]) -> Decision:
        """The same scores without a decision; as it is where there is no score."""
        if self.best is None:
            return self
        return replace(self, verdict=Verdict.NOTHING, reasons=reasons)


def best_per_benchmark(
    records: Sequence[TrialRecord],
    results: Callable[[str], Scores | None] = lambda _: None,
) -> list[Decision]:
    """Decide for each benchmark, and for their mean where there are several.

    Args:
        records: The trials of a sweep, in any state; full fine-tuning has no pruning rate, and
            is left out.
        results: Gives a trial's per-example results by its id, or None where it has none; asked
            at most once, and only for the best trials. Without it nothing has an interval.

    Raises:
        SweepError: No trial that has a pruning rate is complete.
    """
    records = [record for record in records if has_rank(record)]
    chosen_from = candidates(records)
    if not chosen_from:
        # Whether a driver still works on an unfinished one is not known here.
        states = Counter(
            "unfinished" if record.state == TrialState.RUNNING else record.state.lower()
            for record in records
        )
        found = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
        raise SweepError(
            f"no pruning rate can be chosen yet: no trial that has one is complete (trials: "
            f"{found or 'none'})"
        )
    known_results = cache(results)
    names = benchmarks(records)
    return [
        _decide(subject, parts_of(subject, names), records, chosen_from, known_results)
        for subject in subjects_of(names)
    ]


def _decide(
    subject: str,
    parts: Sequence[str],
    records: Sequence[TrialRecord],
    chosen_from: Sequence[Candidate],
    results: Callable[[str], Scores | None],
) -> Decision:
    scored = [candidate for candidate in chosen_from if subject in candidate.scores]
    pruned = [candidate for candidate in scored if candidate.pruning_rate > 0]
    unpruned = [candidate for candidate in scored if candidate.pruning_rate == 0]

    def best_of(among: Sequence[Candidate]) -> BestTrial | None:
        return _best_trial(among, subject, parts, results)

    test = _compare(pruned, unpruned, subject, parts, results)
    best = best_of(scored)
    rates = tuple(
        RateRow(
            pruning_rate=rate,
            best=best_of([one for one in scored if one.pruning_rate == rate]),
            **_counts(records, rate),
        )
        for rate in sorted(set(map(pruning_rate, records)))
    )
    return Decision(
        benchmark=subject,
        best=best,
        pruned=best_of(pruned),
        unpruned=best_of(unpruned),
        paired_test=test,
        verdict=_verdict(bool(pruned), bool(unpruned), test),
        rates=rates,
        tied=tuple(
            row.best
            for row in rates
            if best is not None
            and row.best is not None
            and row.pruning_rate != best.pruning_rate
            and abs(row.best.score - best.score) < TIE
        ),
    )


def _verdict(has_pruned: bool, has_unpruned: bool, test: PairedTest | None) -> Verdict:
    if not has_pruned:
        return Verdict.NO_PRUNED if has_unpruned else Verdict.NO_SCORE
    if not has_unpruned:
        return Verdict.NO_BASELINE
    if test is None:
        return Verdict.NOT_PAIRED
    if test.adjusted_p_value > SIGNIFICANCE:
        return Verdict.CANNOT_TELL
    return Verdict.BETTER if test.difference.value > 0 else Verdict.WORSE


def _compare(
    pruned: Sequence[Candidate],
    unpruned: Sequence[Candidate],
    subject: str,
    parts: Sequence[str],
    results: Callable[[str], Scores | None],
) -> PairedTest | None:
    """Compare the best of each side; None where that is not possible.

    The side that is ahead was picked as the best of its trials, and the best of many is ahead by
    luck alone more often than one: its number of trials is what Bonferroni's correction counts.
    That the other side was picked too only makes the test more cautious.
    """
    if not pruned or not unpruned:
        return None
    first, second = (results(_best(some, subject).trial_id) for some in (pruned, unpruned))
    pairs = pairings(first, second, parts)
    if pairs is None:
        return None
    difference, value = mean_difference(pairs), p_value(pairs)
    num_compared = len(pruned) if difference.value > 0 else len(unpruned)
    return PairedTest(difference, value, num_compared, min(1.0, num_compared * value))


def _best(among: Sequence[Candidate], subject: str) -> Candidate:
    """The highest score; of equal ones the smallest pruning rate, then rank, then number.

    Equal scores are no evidence for pruning, so the trial closest to plain LoRA stands for them;
    of those, the one with the fewest parameters.
    """
    return min(
        among, key=lambda one: (-one.scores[subject], one.pruning_rate, one.rank, one.number)
    )


def _best_trial(
    among: Sequence[Candidate],
    subject: str,
    parts: Sequence[str],
    results: Callable[[str], Scores | None],
) -> BestTrial | None:
    if not among:
        return None
    best = _best(among, subject)
    return BestTrial(
        trial_id=best.trial_id,
        number=best.number,
        pruning_rate=best.pruning_rate,
        method=best.method,
        rank=best.rank,
        score=best.scores[subject],
        estimate=score_estimate(results(best.trial_id), parts),
    )


def _counts(records: Sequence[TrialRecord], rate: float) -> dict[str, int]:
    states = Counter(record.state for record in records if pruning_rate(record) == rate)
    return {
        "num_complete": states[TrialState.COMPLETE],
        "num_stopped": states[TrialState.STOPPED],
        "num_failed": states[TrialState.FAILED],
    }
