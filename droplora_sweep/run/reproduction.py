"""Whether a trial that was run again came out as before, and what may be the reason; pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from droplora_sweep.spec import fingerprint

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from droplora_sweep.analysis.trials import Scores
    from droplora_sweep.records.trial import SweepRecord, TrialRecord
    from droplora_sweep.spec import TrialSpec

MOST_WORKERS = 1024


class RerunOutcome(StrEnum):
    """How alike two runs of a trial are."""

    SAME_BYTES = "reproduced to the byte"
    SAME_SCORES = "reproduced in every score"
    SAME_FAILURE = "failed again, for the same reason"
    DIFFERENT = "did not reproduce"


@dataclass(frozen=True)
class Run:
    """What one run of a trial left.

    Attributes:
        files: What was trained, by name.
        scores: By benchmark, then by example.
        failure: Why there is none of both.
    """

    files: Mapping[str, bytes]
    scores: Scores
    failure: str | None = None


@dataclass(frozen=True)
class Reproduction:
    """The comparison.

    Attributes:
        outcome: How alike.
        details: What differs in the results, one line each.
        circumstances: What differs in what they were made with, one line each.
    """

    outcome: RerunOutcome
    details: tuple[str, ...]
    circumstances: tuple[str, ...]

    @property
    def is_success(self) -> bool:
        return self.outcome is not RerunOutcome.DIFFERENT


def compare(
    before: Run, now: Run, circumstances: Sequence[str], farthest: float | None = None
) -> Reproduction:
    """Compare two runs of one trial.

    Args:
        before: As the ledger has it.
        now: As it came out again.
        circumstances: See `changed_circumstances`.
        farthest: Largest difference of any weight; None where weights cannot be compared.
    """
    if before.failure is not None or now.failure is not None:
        same = before.failure == now.failure
        outcome = RerunOutcome.SAME_FAILURE if same else RerunOutcome.DIFFERENT
        details = [f"then: {before.failure or 'no failure'}", f"now: {now.failure or 'no failure'}"]
        return Reproduction(outcome, () if same else tuple(details), tuple(circumstances))
    if before.scores == now.scores:
        same = before.files == now.files
        outcome = RerunOutcome.SAME_BYTES if same else RerunOutcome.SAME_SCORES
    else:
        outcome = RerunOutcome.DIFFERENT
    details = [*_score_lines(before.scores, now.scores), *_file_lines(before.files, now.files)]
    if farthest:
        details.append(f"weights: the largest difference of any is {farthest:.2g}")
    return Reproduction(outcome, tuple(details), tuple(circumstances))


def _score_lines(before: Scores, now: Scores) -> list[str]:
    lines = []
    for name in dict.fromkeys([*before, *now]):
        first, second = before.get(name, {}), now.get(name, {})
        ids = dict.fromkeys([*first, *second])
        others = [one for one in ids if first.get(one) != second.get(one)]
        if others:
            lines.append(
                f"{name}: {len(others)} of {len(ids)} examples are scored otherwise; mean "
                f"{_mean(first):.4f} then, {_mean(second):.4f} now"
            )
    return lines


def _file_lines(before: Mapping[str, bytes], now: Mapping[str, bytes]) -> list[str]:
    if not before:
        return ["it had left no adapter, so that its scores alone are compared"]
    names = sorted({*before, *now})
    return [f"{name}: other bytes" for name in names if before.get(name) != now.get(name)]


def _mean(scores: Mapping[str, float | None]) -> float:
    known = [score for score in scores.values() if score is not None]
    return sum(known) / len(known) if known else float("nan")


def workers_of(trial: TrialRecord, spec: TrialSpec, record: SweepRecord) -> int | None:
    """How many workers trained the trial, which its fingerprint tells; None where it does not.

    Args:
        trial: The trial.
        spec: Its spec.
        record: Its sweep, whose groups may have been of another size then.
    """
    last = int(record.spec["group"]["num_workers"])
    for number in dict.fromkeys((last, *range(1, MOST_WORKERS + 1))):
        digest = fingerprint(
            spec, record.data_digests, record.versions, num_workers=number, start=trial.start
        )
        if digest == trial.fingerprint:
            return number
    return None


def changed_circumstances(
    trial: TrialRecord,
    record: SweepRecord,
    data_digests: Mapping[str, str],
    versions: Mapping[str, str],
) -> list[str]:
    """What a rerun is made with otherwise than the trial was, one line each.

    Args:
        trial: The trial.
        record: Its sweep.
        data_digests: Digest of each split, now.
        versions: Version by package, now.
    """
    lines = [
        f"{kind} {name}: then {was.get(name, 'none')}, now {now.get(name, 'none')}"
        for kind, was, now in (
            ("version of", record.versions, versions),
            ("data of", record.data_digests, data_digests),
        )
        for name in dict.fromkeys([*was, *now])
        if was.get(name) != now.get(name)
    ]
    lines += [
        f"{path}: it went on with {value} when it ran out of memory; the rerun has that from its "
        "first step"
        for path, value in trial.adjusted.items()
    ]
    return lines
