"""Estimated against real seconds, by hand."""

from __future__ import annotations

import pytest

from droplora_sweep.plan.costs.pace import Timed, look_back


def timed(started_s: float, wall_s: float, *, steps: int = 10, train_s: float = 5.0) -> Timed:
    return Timed(
        started_s=started_s,
        wall_s=wall_s,
        train_s=train_s,
        evaluation_s=2.0,
        num_steps=steps,
        num_evaluations=1,
    )


def test_the_first_trial_foretells_the_others_by_steps_and_evaluations() -> None:
    """0.5 s per step, 2 s per evaluation; 1 s beside them, the least that any trial had."""
    first = timed(0.0, wall_s=20.0)
    longer = timed(30.0, wall_s=16.0, steps=20, train_s=13.0)
    alike = timed(60.0, wall_s=10.0)

    found = look_back([alike, first, longer])

    assert found is not None
    assert found.num_trials == 2
    assert found.estimated_s == pytest.approx((20 * 0.5 + 2 + 1) + (10 * 0.5 + 2 + 1))
    assert found.real_s == 26
    assert found.ratios == pytest.approx((8 / 10, (0.8 + 13 / 16) / 2, 13 / 16))


def test_one_trial_foretells_nothing() -> None:
    assert look_back([]) is None
    assert look_back([timed(0.0, wall_s=8.0)]) is None
