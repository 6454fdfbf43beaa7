"""Sweeps that are submitted from a folder that no node of the cluster sees."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from droplora_sweep.errors import SweepError
from droplora_sweep.ledger.reader import Ledger
from droplora_sweep.records.trial import SweepOutcome, TrialState
from droplora_sweep.storage.job_inputs import ROOT as INPUTS
from droplora_sweep.submission.jobs import Jobs
from tests.plugin.test_own_code import check_scores, write_sweep
from tests.raylets import BLIND, free_ports, kill, running_cluster

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.raylets import Cluster

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(900)]

REPOSITORY = Path(__file__).parents[2]
SECRET = "tulip-and-heather-17"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A head that trains nothing, and two nodes that share no place of a job's inputs with it."""
    place = INPUTS / f"droplora-inputs-{os.getuid()}"
    place.mkdir(mode=0o700, exist_ok=True)
    tried = subprocess.run([*BLIND, place, "true"], capture_output=True, text=True, check=False)
    if tried.returncode != 0:
        pytest.skip(f"a tmpfs cannot be mounted here: {tried.stderr.strip()}")
    with running_cluster([0, 1, 1], unseen=place) as cluster:
        yield cluster


def laptop(words: list[str], folder: Path, environment: Mapping[str, str]) -> subprocess.Popen[str]:
    """One of our commands, on a machine that is no node; it shares no working folder with any."""
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "droplora_sweep", *words],
        cwd=folder,
        env={**environment, "PYTHONPATH": str(REPOSITORY), "MLFLOW_TRACKING_PASSWORD": SECRET},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    output, _ = process.communicate(timeout=600)
    assert "Traceback" not in output, output
    return process.returncode, output


def waited_for(process: subprocess.Popen[str], text: str) -> str:
    """Read a command's lines until one has a text."""
    assert process.stdout is not None
    read = ""
    for line in process.stdout:
        read += line
        if text in line:
            return read
    raise AssertionError(f"{text!r} is not in {read}")


def test_data_and_scorers_of_a_laptop_reach_every_node_and_no_secret_does(
    cluster: Cluster, tmp_path: Path
) -> None:
    mine, storage = tmp_path / "mine", tmp_path / "results"
    mine.mkdir()
    write_sweep(mine, "length")
    where = ["--address", cluster.jobs]
    words = ["submit", "own.yaml", "--ship", "--storage", str(storage), *where]
    code, output = ended(laptop(words, mine, cluster.environment))
    assert code == 0, output
    assert "  and task.benchmarks.first.data: mine.jsonl (" in output
    assert "canary: passed" in output
    check_scores(storage)
    # What the ledger names outlives the job's folder, and is the same for the next job.
    [trial] = Ledger.open(storage, "own").records()
    data = trial.spec["task"]["benchmark_specs"]["first"]["data"]
    assert data.startswith(f"{INPUTS}/droplora-inputs-{os.getuid()}/")
    assert data.endswith("/0-mine.jsonl")

    jobs = cluster.run("job", "list", f"--address={cluster.jobs}", "--log-style=record")
    assert "own-" in jobs.stdout, jobs.stderr
    [job] = {word for word in jobs.stdout.replace("'", '"').split('"') if word.startswith("own-")}
    logs = cluster.run("job", "logs", f"--address={cluster.jobs}", job)
    assert SECRET not in jobs.stdout + jobs.stderr + logs.stdout + output

    # It is over: to submit it again trains nothing, from the same content.
    code, output = ended(laptop(words, mine, cluster.environment))
    assert code == 0, output
    assert len(Ledger.open(storage, "own").records()) == 1


def test_a_job_is_found_followed_stopped_and_continued(cluster: Cluster, tmp_path: Path) -> None:
    storage = tmp_path / "results"
    long = {
        "name": "long",
        "storage": str(storage),
        "task": {"benchmarks": ["builtin_choice"], "num_train": 64, "num_validation": 8},
        "training": {"epochs": 60, "global_batch_size": 16, "micro_batch_size": 16},
        "evaluation": {"num_evaluations": 1, "max_new_tokens": 8},
        "search": {"num_trials": 1},
        "group": {"num_workers": 1, "max_groups": 1},
    }
    (tmp_path / "long.yaml").write_text(yaml.safe_dump(long))
    where = ["--address", cluster.jobs]
    code, output = ended(
        laptop(["submit", "long.yaml", "--detach", *where], tmp_path, cluster.environment)
    )
    assert code == 0, output
    assert "`droplora-sweep job follow long`" in output

    following = laptop(["job", "follow", "long", *where], tmp_path, cluster.environment)
    waited_for(following, "t0000")
    while not Ledger.open(storage, "long").records():
        time.sleep(0.5)
    code, output = ended(
        laptop(["submit", "long.yaml", "--detach", *where], tmp_path, cluster.environment)
    )
    assert code == 0, output
    assert "long: runs already, as job long-" in output
    code, output = ended(laptop(["job", "stop", "long", *where], tmp_path, cluster.environment))
    assert code == 0, output
    assert ": stopped" in output
    code, output = ended(following)
    assert code == 75, output
    assert "interrupted by SIGTERM, resumable: " in output
    assert Ledger.open(storage, "long").record.outcome is SweepOutcome.INTERRUPTED

    words = ["job", "resume", "long", "--storage", str(storage), *where]
    code, output = ended(laptop(words, tmp_path, cluster.environment))
    assert code == 0, output
    record = Ledger.open(storage, "long").record
    assert [trial.state for trial in record.trials] == [TrialState.COMPLETE]
    assert f"{record.trials[0].trial_id} resumes from step " in output


def test_what_is_wrong_is_said_in_a_line_before_anything_is_sent(
    cluster: Cluster, tmp_path: Path
) -> None:
    shutil.copy(REPOSITORY / "search_spaces" / "quickstart.yaml", tmp_path)
    (port,) = free_ports(1)
    away = f"http://127.0.0.1:{port}"
    storage = ["--storage", str(tmp_path / "results")]
    without_token = {
        name: value for name, value in cluster.environment.items() if "RAY_AUTH" not in name
    }
    cases: list[tuple[list[str], dict[str, str], str]] = [
        (
            [*storage, "--address", away, "--set", "task.num_validation=100000"],
            {},
            "task.num_validation: ",
        ),
        ([*storage, "--address", away], {}, "--address: must be the dashboard of a Ray cluster"),
        (["--address", away], {}, "storage: must be an absolute path of the head node"),
        (storage, {}, "--address: must be given, or --cluster FILE"),
        ([*storage, "--cluster", "none.yaml"], {}, "--cluster: must be the file that `ray up` was"),
        (
            [*storage, "--address", cluster.jobs],
            without_token,
            "which asks for Ray's token: put the cluster's into ~/.ray/auth_token",
        ),
        (
            [*storage, "--address", cluster.jobs, "--env", f"HF_TOKEN={SECRET}"],
            {},
            "--env: must not be a secret, got HF_TOKEN: whoever sees the cluster's dashboard",
        ),
    ]
    for words, environment, wanted in cases:
        code, output = ended(
            laptop(
                ["submit", "quickstart.yaml", *words],
                tmp_path,
                {**(environment or cluster.environment), "HOME": str(tmp_path)},
            )
        )
        assert code == 2, output
        lines = [line for line in output.splitlines() if not line.startswith("next: ")]
        assert wanted in lines[-1]
        assert SECRET not in output
    code, output = ended(
        laptop(["job", "stop", "none", "--address", cluster.jobs], tmp_path, cluster.environment)
    )
    assert code == 2, output
    assert "NAME: must be the name of a sweep with a running job: none" in output


def test_a_head_that_is_lost_is_told_at_once_and_given_up_in_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    patience_s, shown = 5.0, ""

    def show(text: str) -> None:
        nonlocal shown
        shown += text

    with running_cluster([0]) as lost:
        for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN"):
            monkeypatch.setenv(name, lost.environment[name])
        job = lost.run("job", "submit", f"--address={lost.jobs}", "--no-wait", "--", "sleep", "90")
        assert job.returncode == 0, job.stderr
        name = next(word for word in job.stdout.split("'") if word.startswith("raysubmit_"))
        # The job has been followed for longer than the patience when its head goes.
        ending = threading.Timer(2 * patience_s, kill, [lost.raylets])
        ending.start()
        with pytest.raises(SweepError, match=f"has not answered for {patience_s:.0f} s"):
            Jobs(lost.jobs).follow(name, show, patience_s)
        ending.join()
    assert f"{lost.jobs}: nothing answers there; asking again for up to 5 s\n" in shown
