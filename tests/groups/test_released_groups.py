"""Groups that are released and start again, for real: Ray Train runs, and a pool that is raced."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Any

import pytest
import ray

from droplora_sweep.groups.manager import GroupManager
from droplora_sweep.groups.messages import Delivery, Lease, Released
from droplora_sweep.groups.pool import start_pool
from droplora_sweep.records.messages import Submission
from droplora_sweep.spec import GroupSpec

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.usefixtures("local_ray")]

TIMEOUT_S = 150.0


def call(pool: Any, method: str, *args: Any) -> Any:
    return ray.get(getattr(pool, method).remote(*args))


def wait_until(is_so: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not is_so():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


def placement_groups() -> int:
    """Those that still reserve something."""
    table: Any = ray.util.placement_group_table()
    return sum(one["state"] != "REMOVED" for one in table.values())


def free_cpus() -> float:
    return float(ray.available_resources().get("CPU", 0.0))


def test_an_idle_group_gives_its_workers_back_and_starts_again_for_the_next_trials(
    small_sweep: Callable[..., Any], tmp_path: Path
) -> None:
    group = {"num_workers": 1, "max_groups": 2, "release_after_minutes": 0.05}
    sweep = small_sweep(group=group)
    spec = sweep.trial.model_dump_json()
    said: list[str] = []
    pool = start_pool("released", sweep.group)
    with GroupManager(
        sweep=sweep, pool=pool, pool_name="released", scratch=tmp_path, say=said.append
    ) as groups:
        wait_until(lambda: len(call(pool, "nodes")) == 2, "two groups")
        assert free_cpus() == 0
        call(pool, "submit", Submission(trial_id="long", spec=spec))
        # It waits at its first evaluation, so that its group is at work.
        assert call(pool, "receive", "long", TIMEOUT_S).evaluation.number == 1
        wait_until(lambda: groups.num_released == 1, "one group released")
        wait_until(lambda: free_cpus() == 1, "its processor free")
        assert placement_groups() == 1
        assert groups.num_groups == 2, "there is room for it when there is work"
        [told] = said
        assert told.endswith(
            "has had no work for 0.05 min: it ends and gives its workers back, until there is work "
            "for it"
        )
        for name in ("second", "third"):
            call(pool, "submit", Submission(trial_id=name, spec=spec))
        for name in ("second", "third"):
            for number in (1, 2):
                assert call(pool, "receive", name, TIMEOUT_S).evaluation.number == number
                call(pool, "go_on", name, number)
        assert groups.num_released == 0
        assert said[1] == f"{told.partition(' has had')[0]} starts again: there is work for it"
        call(pool, "go_on", "long", 1)
        outcomes = [call(pool, "outcome", name, TIMEOUT_S) for name in ("long", "second", "third")]
        assert all(isinstance(outcome, Delivery) for outcome in outcomes)
        assert outcomes[0].files.files == outcomes[1].files.files == outcomes[2].files.files
        # Nothing is left to do: one of them stays, ready.
        wait_until(lambda: groups.num_released == 1, "one group released")
        time.sleep(8)
        assert groups.num_released == 1
        assert len(call(pool, "nodes")) == 1


def test_a_lease_or_the_end_and_never_both_nor_a_lost_trial() -> None:
    pool = start_pool("raced", GroupSpec())
    ray.get(pool.enter.remote("g0", []))
    chance, given, ended = random.Random(0), 0, 0
    for number in range(100):
        lease = pool.lease.remote("g0", 30.0)
        wait_until(lambda: "g0" in call(pool, "workload").idle_s, "it asks")
        trial = Submission(trial_id=f"t{number}", spec="a")
        calls = [lambda: pool.release.remote("g0"), lambda trial=trial: pool.submit.remote(trial)]
        chance.shuffle(calls)
        replies = ray.get([each() for each in calls])
        is_released = any(reply is True for reply in replies)
        answer = ray.get(lease)
        if isinstance(answer, Lease):
            given += 1
            assert not is_released
            call(pool, "finish", "g0", None)
        else:
            assert isinstance(answer, Released)
            assert is_released
            ended += 1
            ray.get([pool.leave.remote("g0"), pool.enter.remote("g0", [])])
            # Its next processes take the trial that waits.
            assert isinstance(call(pool, "lease", "g0", 30.0), Lease)
            call(pool, "finish", "g0", None)
        assert call(pool, "workload").num_waiting == 0
    assert given > 10
    assert ended > 10
