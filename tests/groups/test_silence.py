"""The groups that count as frozen, by the times at which they showed progress."""

import pytest

from droplora_sweep.groups.watchdog import (
    LONG_FACTOR,
    LONG_PACE_FACTOR,
    NUM_PAUSES,
    PACE_FACTOR,
    Watchdog,
)

FLOOR_S = 100.0


def stepping(pause_s, steps=10, start_s=0.0):
    """A group that shows progress this often; and the time of its last sign."""
    vigil = Watchdog(FLOOR_S)
    vigil.start("g0", start_s)
    now_s = start_s
    for _ in range(steps):
        now_s += pause_s
        vigil.heartbeat("g0", now_s, in_steps=True)
    return vigil, now_s


def test_a_group_that_was_never_heard_of_is_not_silent():
    assert Watchdog(FLOOR_S).frozen(1e9) == {}


def test_before_its_first_step_a_group_may_be_silent_for_longer():
    vigil = Watchdog(FLOOR_S)
    vigil.start("g0", 0.0)
    assert vigil.frozen(LONG_FACTOR * FLOOR_S) == {}
    assert vigil.frozen(LONG_FACTOR * FLOOR_S + 1) == {
        "g0": "no progress for 601 s in what comes between steps, where the limit is 600 s"
    }


def test_a_fast_group_is_silent_after_the_floor():
    vigil, now_s = stepping(pause_s=1.0)
    assert vigil.frozen(now_s + FLOOR_S) == {}
    assert vigil.frozen(now_s + FLOOR_S + 1) == {
        "g0": "no progress for 101 s in a training step, where the limit is 100 s"
    }


def test_a_slow_group_gets_a_multiple_of_its_own_longest_pause():
    vigil, now_s = stepping(pause_s=40.0)
    assert vigil.frozen(now_s + PACE_FACTOR * 40) == {}
    assert vigil.frozen(now_s + PACE_FACTOR * 40 + 1)


def test_a_pause_long_ago_is_forgotten():
    vigil, now_s = stepping(pause_s=40.0)
    for _ in range(NUM_PAUSES):
        now_s += 1
        vigil.heartbeat("g0", now_s, in_steps=True)
    assert vigil.frozen(now_s + FLOOR_S + 1)


def test_an_evaluation_or_a_checkpoint_may_take_longer_than_a_step():
    vigil, now_s = stepping(pause_s=1.0)
    vigil.heartbeat("g0", now_s, in_steps=False)
    assert vigil.frozen(now_s + FLOOR_S + 1) == {}
    assert vigil.frozen(now_s + LONG_FACTOR * FLOOR_S + 1)


def test_a_slow_evaluation_gets_a_smaller_multiple_of_its_own_longest_pause():
    vigil = Watchdog(FLOOR_S)
    vigil.start("g0", 0.0)
    vigil.heartbeat("g0", 500.0, in_steps=False)
    assert vigil.frozen(500.0 + LONG_PACE_FACTOR * 500) == {}
    assert vigil.frozen(501.0 + LONG_PACE_FACTOR * 500)


def test_one_worker_that_shows_progress_is_enough():
    vigil, now_s = stepping(pause_s=1.0)
    vigil.heartbeat("g0", now_s + FLOOR_S - 1, in_steps=True)
    assert vigil.frozen(now_s + FLOOR_S + 1) == {}


def test_a_silent_group_is_named_once_and_again_if_it_is_still_there():
    vigil, now_s = stepping(pause_s=1.0)
    assert vigil.frozen(now_s + FLOOR_S + 1)
    assert vigil.frozen(now_s + LONG_FACTOR * FLOOR_S) == {}
    assert vigil.frozen(now_s + 1 + (LONG_FACTOR + 1) * FLOOR_S + 1)


def test_restarted_processes_have_their_start_and_the_pace_of_those_before():
    vigil, now_s = stepping(pause_s=90.0)
    vigil.start("g0", now_s)
    assert vigil.frozen(now_s + LONG_FACTOR * FLOOR_S) == {}
    vigil.heartbeat("g0", now_s + 1, in_steps=True)
    assert vigil.frozen(now_s + 1 + PACE_FACTOR * 90) == {}
    assert vigil.frozen(now_s + 2 + PACE_FACTOR * 90)


@pytest.mark.parametrize("in_steps", [True, False])
def test_a_group_that_ended_is_silent_without_blame(in_steps):
    vigil, now_s = stepping(pause_s=1.0)
    vigil.forget("g0")
    vigil.heartbeat("g0", now_s, in_steps=in_steps)
    assert vigil.frozen(now_s + 1e6) == {}


def test_a_group_is_within_its_steps_as_it_last_showed():
    vigil, now_s = stepping(pause_s=1.0)
    assert vigil.is_in_steps("g0")
    vigil.heartbeat("g0", now_s + 1, in_steps=False)
    assert not vigil.is_in_steps("g0")
    assert not vigil.is_in_steps("g1")
