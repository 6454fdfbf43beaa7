"""Processes of a group, or a trial's Tune client, killed under a running sweep."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from droplora_sweep.ledger.reader import Ledger
from droplora_sweep.records.trial import TrialState

from .sweeping import (
    NAME,
    NUM_TINY,
    ONE_WORKER,
    TINY,
    actors,
    command,
    kill_all,
    saved_steps,
    see_its_end,
    start,
    trials,
    wait_until,
)
from .table import recorded

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.ray, pytest.mark.faults, pytest.mark.slow, pytest.mark.timeout(900)]

RANK = "TrainWorker"
CLIENT = "ResourceTrainable"
"""Tune's name for a trainable that was given resources."""


@pytest.mark.parametrize(
    ("case", "num_killed"), [("one rank killed in mid-step", 1), ("every rank killed", 2)]
)
def test_a_group_that_loses_its_ranks_goes_on_with_its_trial(
    tmp_path: Path, case: str, num_killed: int
) -> None:
    mark = str(tmp_path)
    with recorded(case) as row:
        driver = start(command(tmp_path, **TINY), mark)
        wait_until(lambda: bool(saved_steps(tmp_path, 0)), driver, "a first step")
        ranks = actors(mark, RANK)
        assert len(ranks) == 2
        row.injected = kill_all(ranks[-num_killed:])
        see_its_end(driver, tmp_path, row, mark=mark)
        assert all(trial.state is not TrialState.FAILED for trial in trials(tmp_path))


def test_a_group_with_a_frozen_rank_is_ended_and_its_trial_goes_on(tmp_path: Path) -> None:
    mark = str(tmp_path)
    with recorded("worker frozen by SIGSTOP") as row:
        settings = {**TINY, **ONE_WORKER, "group.silence_floor_s": 10}
        driver = start(command(tmp_path, **settings), mark)
        wait_until(lambda: bool(saved_steps(tmp_path, 0)), driver, "a first step")
        [rank] = actors(mark, RANK)
        rank.suspend()
        row.injected = 1
        output = see_its_end(driver, tmp_path, row, mark=mark)
        assert "group g0 is ended and started again: no progress for " in " ".join(output.split())
        assert rank.pid not in {each.pid for each in actors(mark, RANK)}
        assert all(trial.state is not TrialState.FAILED for trial in trials(tmp_path))


def test_a_trial_whose_client_was_killed_goes_on_with_another(tmp_path: Path) -> None:
    mark = str(tmp_path)
    with recorded("trial client killed") as row:
        driver = start(command(tmp_path, **TINY, **ONE_WORKER), mark)
        for number in (0, 1):
            wait_until(lambda n=number: bool(saved_steps(tmp_path, n)), driver, "a first step")
            row.injected += kill_all(actors(mark, CLIENT))
        see_its_end(driver, tmp_path, row, mark=mark)
        after = trials(tmp_path)
        assert all(trial.state is not TrialState.FAILED for trial in after)
        assert [trial.attempts for trial in after] == [1] * NUM_TINY, "started once each"
        for trial in after:
            numbers = [each.number for each in trial.evaluations]
            assert numbers == sorted(set(numbers))


def test_a_trial_that_keeps_killing_its_group_fails_and_the_others_go_on(tmp_path: Path) -> None:
    mark = str(tmp_path)
    with recorded("poison trial") as row:
        driver = start(command(tmp_path, **TINY, **ONE_WORKER, **{"group.max_attempts": 2}), mark)
        for _ in range(2):
            before = saved_steps(tmp_path, 1)
            wait_until(
                lambda old=before: bool(saved_steps(tmp_path, 1) - old), driver, "a further step"
            )
            row.injected += kill_all(actors(mark, RANK)[-1:])
        see_its_end(driver, tmp_path, row, code=3, mark=mark)
        failed = [trial for trial in trials(tmp_path) if trial.state is TrialState.FAILED]
        assert [trial.number for trial in failed] == [1]
        assert failed[0].reason is not None
        assert "lost its group 2 times" in failed[0].reason
        assert len(Ledger.open(tmp_path, NAME).records()) == NUM_TINY
