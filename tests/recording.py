"""Trials and evaluations in few words, for tests that write ledgers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from droplora_sweep.records.messages import Evaluated, tune_result
from droplora_sweep.records.trial import Evaluation, PlannedTrial

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from droplora_sweep.spec import Scalar, TrialSpec


def planned(
    trial_id: str,
    number: int,
    fingerprint: str,
    spec: TrialSpec,
    params: Mapping[str, Scalar],
    drawn: Mapping[str, Scalar] | None = None,
    **more: Any,
) -> PlannedTrial:
    """A trial whose searched values are as drawn, unless both are given."""
    return PlannedTrial(
        trial_id=trial_id,
        number=number,
        fingerprint=fingerprint,
        spec=spec.model_dump(mode="json"),
        params=params,
        drawn=params if drawn is None else drawn,
        **more,
    )


def evaluated(
    number: int,
    step: int,
    metrics: Mapping[str, float],
    *,
    num_evaluations: int,
    outcomes: Mapping[str, Sequence[float | None]] | None = None,
) -> Evaluation:
    """An evaluation, as a worker reports it."""
    return Evaluation(
        number=number,
        num_evaluations=num_evaluations,
        step=step,
        metrics=metrics,
        outcomes=outcomes or {},
    )


def result(
    score: float,
    number: int = 3,
    *,
    num_evaluations: int = 3,
    is_repeated: bool = False,
    **metrics: float,
) -> dict[str, Any]:
    """Return the result that Ray Tune is given of an evaluation with this mean score."""
    evaluation = evaluated(
        number, 10 * number, {"val/mean": score, **metrics}, num_evaluations=num_evaluations
    )
    return tune_result(Evaluated(evaluation, is_repeated=is_repeated))
