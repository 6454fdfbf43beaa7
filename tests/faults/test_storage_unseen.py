"""Nodes that do not see the sweep's storage: checkpoints and adapters go through Ray."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from droplora_sweep.records.trial import TrialState
from tests.raylets import BLIND, kill, running_cluster

from .oracle import MARK
from .sweeping import (
    NAME,
    ONE_GROUP,
    ONE_WORKER,
    TINY,
    actors,
    command,
    saved_steps,
    see_its_end,
    start,
    to_end,
    trials,
    wait_until,
)
from .table import recorded

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.ray,
    pytest.mark.faults,
    pytest.mark.slow,
    pytest.mark.timeout(900),
]

ONE_TRIAL = {**TINY, **ONE_WORKER, "search.num_trials": 1, "search.queue_baselines": False}


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    """A folder in whose place other nodes may have another one."""
    folder = tmp_path / "results"
    folder.mkdir()
    tried = subprocess.run([*BLIND, folder, "true"], capture_output=True, text=True, check=False)
    if tried.returncode != 0:
        pytest.skip(f"a tmpfs cannot be mounted here: {tried.stderr.strip()}")
    return folder


def test_a_lost_node_s_trial_goes_on_from_its_checkpoint_without_shared_storage(
    storage: Path, tmp_path: Path
) -> None:
    """It then leaves the bytes of a run that nothing has interrupted, on a node that sees all."""
    mark = str(tmp_path)
    with (
        recorded("node lost that does not see the storage") as row,
        running_cluster([0, 1, 1], {MARK: mark}, unseen=storage) as cluster,
    ):
        driver = start(
            command(storage, address=cluster.address, **{**ONE_TRIAL, "training.epochs": 24}),
            mark,
            cluster.environment,
        )
        wait_until(lambda: len(saved_steps(storage, 0)) > 1, driver, "it is saved")
        [rank] = actors(mark, "TrainWorker")
        lost = cluster.raylet_of(rank)
        assert lost != 0
        kill([cluster.raylets[lost]])
        row.injected = 1
        output = see_its_end(driver, storage, row, num_planned=1)
        [trial] = trials(storage)
        assert trial.state is TrialState.COMPLETE
        assert f"{trial.trial_id} resumes from step " in " ".join(output.split())
        log = (storage / NAME / "driver.log").read_text()
        assert "sends checkpoints and adapters through Ray: its node does not see" in log
        assert not (storage / NAME / ".incoming").exists()
    again = command(storage, "rerun", NAME, trial.trial_id, "--address", "local")
    code, output = to_end(start(again, mark))
    assert code == 0, output
    assert "reproduced to the byte" in output


def test_a_sweep_that_must_see_its_storage_says_where_it_does_not(
    storage: Path, tmp_path: Path
) -> None:
    mark = str(tmp_path)
    with (
        recorded("storage asked for, and not seen by a node") as row,
        running_cluster([0, 1], {MARK: mark}, unseen=storage) as cluster,
    ):
        settings = {**ONE_TRIAL, "group.checkpoint_transport": "storage"}
        driver = start(
            command(storage, address=cluster.address, **settings), mark, cluster.environment
        )
        code, output = to_end(driver)
        row.injected = 1
        row.result = f"refused, exit {code}"
        assert code == 2, output
        said = " ".join(output.split())
        assert ": storage: must be fine on " in said
        wanted = (
            "what the driver wrote is not seen; mount it on every node, or set "
            "group.checkpoint_transport: ray"
        )
        assert wanted in said
        assert "Traceback" not in output
        assert not (storage / NAME).exists()


def test_members_of_a_population_copy_each_other_without_shared_storage(
    storage: Path, tmp_path: Path
) -> None:
    mark = str(tmp_path)
    with (
        recorded("population whose nodes do not see the storage") as row,
        running_cluster([0, 1], {MARK: mark}, unseen=storage) as cluster,
    ):
        settings = {
            **TINY,
            **ONE_GROUP,
            "search.num_trials": 4,
            "search.queue_baselines": False,
            "search.sampler": "random",
            "search.population": "{min_members: 2, quantile: 0.5}",
            "search.parameters": "{adapter.pruning_rate: {min: 0.0, max: 0.9}, "
            "training.learning_rate: {min: 1e-4, max: 3e-2, scale: log}}",
            "task.num_validation": 32,
            "evaluation.num_evaluations": 3,
        }
        driver = start(
            command(storage, address=cluster.address, **settings), mark, cluster.environment
        )
        see_its_end(driver, storage, row, num_planned=4)
        found = trials(storage)
        assert all(trial.state is TrialState.COMPLETE for trial in found)
        assert any(trial.schedule for trial in found), "some member copied another"
        assert list(storage.glob(f"{NAME}/trials/*/snapshots/*")) == []
