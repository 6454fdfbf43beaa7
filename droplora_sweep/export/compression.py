"""Scores of a trial's adapter at lower ranks, without training again."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from droplora_sweep.adapters.compression import FactoredAdapter, num_parameters
from droplora_sweep.adapters.export import WEIGHTS_FILE
from droplora_sweep.analysis.pairing import mean_difference, pairings
from droplora_sweep.errors import Fault, InputError
from droplora_sweep.evaluation.results import example_scores, score
from droplora_sweep.files import disk_faults_named
from droplora_sweep.ledger.files import plain_files, publish_adapter, verify_adapter
from droplora_sweep.records.layout import MODEL_CARD
from droplora_sweep.spec import TrialSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from droplora_sweep.analysis.estimate import Estimate
    from droplora_sweep.analysis.evidence import Scores
    from droplora_sweep.evaluation.results import ExampleResult
    from droplora_sweep.records.trial import TrialRecord

    from .scoring import MakeScorer, Scorer

MARGIN = 0.01
"""Loss of mean score that still counts as kept: one point."""
# 0.71 - 0.70 is above 0.01 in binary.
_ROUNDING = 1e-9


@dataclass(frozen=True, kw_only=True)
class RankPoint:
    """An adapter at one rank.

    Attributes:
        rank: Rank of the adapter; in the first point of a curve the rank that was trained.
        num_parameters: Numbers in its weights.
        weight_bytes: Size of its weights' file.
        relative_error: Error of the update in the Frobenius norm; 0 for the adapter as trained.
        scores: Validation accuracy by benchmark, and ``mean``; fractions.
        by_example: Each example's score, by benchmark and example id.
    """

    rank: int
    num_parameters: int
    weight_bytes: int
    relative_error: float
    scores: Mapping[str, float]
    by_example: Scores = field(repr=False)


@dataclass(frozen=True)
class KeptRank:
    """The lowest rank whose mean score is within `MARGIN` of the full rank's.

    Attributes:
        rank: The rank.
        difference: Its mean score minus the full rank's, paired, with the 95 % interval.
    """

    rank: int
    difference: Estimate

    @property
    def is_sure(self) -> bool:
        """True where the interval excludes a loss above `MARGIN`."""
        return self.difference.low >= -MARGIN


def rank_curve(
    trial: TrialRecord,
    ranks: Sequence[int] | None,
    output: Path | None,
    on_rank: Callable[[int], None],
    *,
    make_scorer: MakeScorer,
) -> list[RankPoint]:
    """Score a trial's adapter as trained, and truncated to each rank, on its validation split.

    Args:
        trial: Has an adapter.
        ranks: Ranks in any order; halves of the adapter's rank down to 1 where None.
        output: Folder that gets each truncated adapter as ``rank-<N>``; none are written for None.
        on_rank: Called with each rank before it is scored.
        make_scorer: Loads the trial's base model, here or on a cluster.

    Returns:
        One point per rank, descending; the first is the adapter as trained.

    Raises:
        InputError: A rank is not the adapter's, the adapter cannot be truncated, the model or
            the data is gone, torch cannot use the GPU, or ``output`` has such a folder already.
        SweepError: The adapter's files are damaged, or ``output`` cannot be written.
    """
    files = _published_files(trial)
    try:
        adapter = FactoredAdapter(files)
        wanted = _halves(adapter.rank) if ranks is None else sorted(set(ranks), reverse=True)
        for rank in wanted:
            adapter.check_rank(rank)
    except InputError as error:
        raise InputError(
            [Fault(trial.trial_id, fault.field, fault.problem) for fault in error.faults]
        ) from error
    lower = [rank for rank in wanted if rank < adapter.rank]
    _refuse_existing(output, lower)

    spec = TrialSpec.model_validate(dict(trial.spec))
    with make_scorer(spec) as scorer:
        on_rank(adapter.rank)
        points = [_point(adapter.rank, files, 0.0, scorer)]
        for rank in lower:
            on_rank(rank)
            truncated = adapter.truncated(rank)
            points.append(_point(rank, truncated, adapter.relative_error(rank), scorer))
            if output is not None:
                folder = _rank_folder(output, rank)
                with disk_faults_named(folder):
                    publish_adapter(folder, truncated)
    return points


def lowest_kept(points: Sequence[RankPoint]) -> KeptRank | None:
    """Return the lowest rank whose mean score is at most `MARGIN` below the first point's.

    Args:
        points: Result of `rank_curve`.

    Returns:
        None where no rank below the first point's is.
    """
    full, *lower = points
    kept = [
        point for point in lower if full.scores["mean"] - point.scores["mean"] <= MARGIN + _ROUNDING
    ]
    if not kept:
        return None
    lowest = min(kept, key=lambda point: point.rank)
    # They are scored on the same examples, but a judge may have rated none of them twice.
    pairs = pairings(lowest.by_example, full.by_example, list(lowest.by_example))
    return None if pairs is None else KeptRank(lowest.rank, mean_difference(pairs))


def _scored(scorer: Scorer, files: Mapping[str, bytes]) -> list[ExampleResult]:
    with tempfile.TemporaryDirectory(prefix="droplora-") as folder:
        for name, content in files.items():
            (Path(folder) / name).write_bytes(content)
        return scorer(Path(folder))


def _published_files(trial: TrialRecord) -> dict[str, bytes]:
    assert trial.adapter is not None, "find_trial gives trials with an adapter"
    verify_adapter(trial.adapter, trial.adapter_digest)
    card = trial.adapter / MODEL_CARD
    cards = {MODEL_CARD: card.read_bytes()} if card.is_file() else {}
    return {**plain_files(trial.adapter), **cards}


def _halves(rank: int) -> list[int]:
    """Return the rank halved down to 1: of 8 these are 4, 2 and 1."""
    return [] if rank == 1 else [rank // 2, *_halves(rank // 2)]


def _rank_folder(output: Path, rank: int) -> Path:
    return output.resolve() / f"rank-{rank}"


def _refuse_existing(output: Path | None, ranks: Iterable[int]) -> None:
    if output is None:
        return
    taken = [folder for rank in ranks if (folder := _rank_folder(output, rank)).exists()]
    if taken:
        problem = "must be new, got {}, which exists"
        raise InputError([Fault("", "--output", problem.format(folder)) for folder in taken])


def _point(
    rank: int, files: Mapping[str, bytes], relative_error: float, scorer: Scorer
) -> RankPoint:
    results = _scored(scorer, files)
    outcomes = ((one.benchmark, one.example_id, one.score) for one in results)
    return RankPoint(
        rank=rank,
        num_parameters=num_parameters(files),
        weight_bytes=len(files[WEIGHTS_FILE]),
        relative_error=relative_error,
        scores=score(results),
        by_example=example_scores(outcomes),
    )
