"""The step of resuming is reported for trials that were begun before, and for no others."""

from __future__ import annotations

import pytest

from droplora_sweep.groups.messages import Beginning
from droplora_sweep.run.watch import beginning_line


@pytest.mark.parametrize(
    ("attempt", "step", "has_run_before", "line"),
    [
        (1, 0, False, None),
        (1, 120, True, "t0 resumes from step 120 of 300, its newest usable checkpoint"),
        (2, 120, False, "t0 resumes from step 120 of 300, its newest usable checkpoint"),
        (1, 0, True, "t0 starts again at step 0: none of its checkpoints can be used"),
        (2, 0, False, "t0 starts again at step 0: none of its checkpoints can be used"),
    ],
)
def test_a_trial_that_was_begun_before_says_from_which_step(
    attempt: int, step: int, has_run_before: bool, line: str | None
) -> None:
    beginning = Beginning(trial_id="t0", attempt=attempt, step=step, num_steps=300)
    assert beginning_line(beginning, has_run_before=has_run_before) == line
