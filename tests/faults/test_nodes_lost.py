"""Nodes of a running Ray cluster lost, drained, or all gone; a job stopped; nodes too small."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

import pytest

from droplora_sweep.ledger.reader import Ledger
from droplora_sweep.records.trial import TrialState
from tests.raylets import kill, running_cluster

from .oracle import MARK
from .sweeping import (
    NAME,
    ONE_WORKER,
    TINY,
    actors,
    command,
    saved_steps,
    see_its_end,
    start,
    trials,
    wait_until,
)
from .table import recorded

if TYPE_CHECKING:
    from pathlib import Path

    from tests.raylets import Cluster

pytestmark = [pytest.mark.ray, pytest.mark.faults, pytest.mark.timeout(900)]

RANK = "TrainWorker"
LIVING_PLACEMENT_GROUPS = "leaked_placement_groups()"
THE_ORACLE = "from tests.faults.oracle import leaked_placement_groups"
DEADLINE_S = 60
EVERY_STEPS = 50


def check_placement_groups(cluster: Cluster) -> None:
    """A driver's end gives back what it had, shortly after it."""
    deadline = time.monotonic() + 60
    while leaked := cluster.ask(LIVING_PLACEMENT_GROUPS, THE_ORACLE):
        assert time.monotonic() < deadline, f"placement groups are left: {leaked}"


@pytest.mark.slow
def test_a_trial_on_a_raylet_that_is_lost_goes_on_elsewhere(tmp_path: Path) -> None:
    mark = str(tmp_path)
    with (
        recorded("raylet of three lost ungracefully") as row,
        running_cluster([0, 1, 1], {MARK: mark}) as cluster,
    ):
        # A group on each node: one of them cannot start again.
        settings = {**TINY, "group.num_workers": 1}
        driver = start(
            command(tmp_path, address=cluster.address, **settings), mark, cluster.environment
        )
        for number in (0, 1):
            wait_until(lambda n=number: bool(saved_steps(tmp_path, n)), driver, "both train")
        [lost, *_] = actors(mark, RANK)
        raylet = cluster.raylets[cluster.raylet_of(lost)]
        kill([raylet])
        assert raylet.returncode == -signal.SIGKILL
        row.injected = 1
        see_its_end(driver, tmp_path, row)
        assert all(trial.state is not TrialState.FAILED for trial in trials(tmp_path))
        check_placement_groups(cluster)


def saved_between(storage: Path) -> set[str]:
    """Checkpoints of the first trial that its own beat does not make."""
    steps = saved_steps(storage, 0)
    return {name for name in steps if int(name.removeprefix("step-")) % EVERY_STEPS}


@pytest.mark.slow
def test_a_trial_is_saved_before_its_node_is_drained_and_goes_on_elsewhere(tmp_path: Path) -> None:
    mark = str(tmp_path)
    with (
        recorded(f"node drained with a deadline of {DEADLINE_S} s, beside another Ray") as row,
        running_cluster([0]),
        running_cluster([0, 1, 1], {MARK: mark}) as cluster,
    ):
        node_ids = [cluster.node_id(place) for place in range(3)]
        settings = {**TINY, **ONE_WORKER, "search.num_trials": 1, "search.queue_baselines": False}
        settings |= {"training.epochs": 160, "checkpoint.every_steps": EVERY_STEPS}
        driver = start(
            command(tmp_path, address=cluster.address, **settings), mark, cluster.environment
        )
        wait_until(lambda: bool(saved_steps(tmp_path, 0)), driver, "it trains")
        helpers = actors(mark, "PlacementGroupCleaner") + actors(mark, "PreemptionWatcher")
        assert {one.environ()["RAY_ADDRESS"] for one in helpers} == {cluster.address}
        [rank] = actors(mark, RANK)
        leaving = cluster.raylet_of(rank)
        done = cluster.run(
            *("drain-node", f"--address={cluster.address}", "--node-id", node_ids[leaving]),
            *("--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "it is wanted"),
            f"--deadline-remaining-seconds={DEADLINE_S}",
        )
        assert done.returncode == 0, done.stdout + done.stderr
        drained_at = time.monotonic()
        wait_until(lambda: bool(saved_between(tmp_path)), driver, "a checkpoint off its beat")
        assert time.monotonic() - drained_at < DEADLINE_S
        rank.wait(DEADLINE_S)
        kill([cluster.raylets[leaving]])
        row.injected = 1
        see_its_end(driver, tmp_path, row, num_planned=1)
        assert all(trial.state is not TrialState.FAILED for trial in trials(tmp_path))
        check_placement_groups(cluster)


@pytest.mark.slow
def test_a_sweep_whose_cluster_is_gone_goes_on_in_a_fresh_one(tmp_path: Path) -> None:
    mark = str(tmp_path)
    with recorded("whole cluster lost, resumed in a fresh one") as row:
        with running_cluster([0, 1], {MARK: mark}) as cluster:
            settings = {**TINY, **ONE_WORKER}
            driver = start(
                command(tmp_path, address=cluster.address, **settings), mark, cluster.environment
            )
            wait_until(lambda: bool(saved_steps(tmp_path, 1)), driver, "the second trial")
            # A driver that `ray job submit` started is on the head node.
            driver.kill()
            kill(cluster.raylets)
            driver.communicate()
            row.injected = 1
        before = trials(tmp_path)
        finished = [trial for trial in before if trial.is_finished]
        assert [trial.number for trial in finished] == [0]
        resumed = start(command(tmp_path, "resume", NAME, "--address", "local"), mark)
        output = see_its_end(resumed, tmp_path, row, mark=mark)
        assert "resumes: 1 trial finished, 1 unfinished" in output
        assert trials(tmp_path)[:1] == finished


@pytest.mark.slow
def test_a_job_that_ray_stops_is_resumable(tmp_path: Path) -> None:
    mark = str(tmp_path)
    with recorded("SIGTERM by `ray job stop`") as row:
        variables = {MARK: mark, "RAY_JOB_STOP_WAIT_TIME_S": "60"}
        with running_cluster([1], variables) as cluster:
            sweep = command(tmp_path, address="auto", **TINY, **ONE_WORKER)
            name = ("--address", cluster.jobs, "--submission-id", "sweep")
            submit = ("job", "submit", *name[:2], "--no-wait", *name[2:], "--working-dir", ".")
            submitted = cluster.run(*submit, "--", *sweep)
            assert submitted.returncode == 0, submitted.stdout + submitted.stderr
            deadline = time.monotonic() + 200
            while not saved_steps(tmp_path, 0):
                assert time.monotonic() < deadline, cluster.run("job", "logs", *name[:2], "sweep")
                time.sleep(0.2)
            stopped = cluster.run("job", "stop", *name[:2], "sweep")
            assert "was stopped" in stopped.stdout, stopped.stdout + stopped.stderr
            row.injected = 1
            said = cluster.run("job", "logs", *name[:2], "sweep").stdout
            assert f"resumable: droplora-sweep resume {NAME}" in said, said
            assert Ledger.open(tmp_path, NAME).record.reason == "SIGTERM"
            check_placement_groups(cluster)
        resumed = start(command(tmp_path, "resume", NAME, "--address", "local"), mark)
        see_its_end(resumed, tmp_path, row, mark=mark)


@pytest.mark.slow
def test_a_group_that_can_never_fit_is_refused_before_anything_starts(tmp_path: Path) -> None:
    with recorded("resources that can never fit") as row:
        settings = {"group.cpus_per_worker": 9999}
        driver = start(command(tmp_path, **settings), str(tmp_path))
        output, _ = driver.communicate(timeout=120)
        row.injected = 1
        row.result = f"refused, exit {driver.returncode}"
        assert driver.returncode == 2
        wanted = "group.num_workers: must be at most 0, as many workers of 9999 CPU"
        assert wanted in " ".join(output.split())
        assert "got 2" in output
        assert list(tmp_path.iterdir()) == []
