"""Resident groups for real: Ray Train workers, DeepSpeed, the built-in model, a killed worker."""

from __future__ import annotations

import json
import os
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest
import ray
from ray._private.state import state

from droplora_sweep.groups.manager import GroupManager
from droplora_sweep.groups.messages import Delivery, Scoring
from droplora_sweep.groups.pool import start_pool
from droplora_sweep.records.messages import Failed, Submission
from droplora_sweep.spec import GroupSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from droplora_sweep.spec import TrialSpec

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.usefixtures("local_ray")]

TIMEOUT_S = 120.0
WEIGHTS = "adapter_model.safetensors"


class Driver:
    """The driver's part of a trial's life, without Tune."""

    def __init__(self, pool: Any) -> None:
        self.pool = pool

    def call(self, method: str, *args: Any) -> Any:
        return ray.get(getattr(self.pool, method).remote(*args))

    def submit(self, trial_id: str, spec: TrialSpec, folder: Path | None = None) -> None:
        place = None if folder is None else str(folder)
        submission = Submission(trial_id=trial_id, spec=spec.model_dump_json(), folder=place)
        self.call("submit", submission)

    def evaluation(self, trial_id: str) -> int:
        """Number of the evaluation that it waits at."""
        number: int = self.call("receive", trial_id, TIMEOUT_S).evaluation.number
        return number

    def train(self, trial_id: str, spec: TrialSpec, *, evaluations: int = 2) -> Delivery | Failed:
        """Submit a trial, let it go on for some evaluations, end it there, return what it left."""
        self.submit(trial_id, spec)
        for evaluation in range(1, evaluations + 1):
            message = self.call("receive", trial_id, TIMEOUT_S)
            assert message is not None
            if isinstance(message, Failed):
                break
            assert message.evaluation.number == evaluation
            if evaluation < evaluations:
                self.call("go_on", trial_id, evaluation)
        self.call("end", trial_id)
        outcome = self.call("outcome", trial_id, TIMEOUT_S)
        assert outcome is not None
        return outcome

    def score(self, name: str, spec: TrialSpec, scoring: Scoring) -> Delivery | Failed:
        """Have a model scored, and return what that gave."""
        self.call("submit_scoring", name, spec.model_dump_json(), scoring)
        outcome = self.call("outcome", name, TIMEOUT_S)
        assert outcome is not None
        return outcome


@pytest.fixture(scope="module")
def sweep(small_sweep: Callable[..., Any]) -> Any:
    return small_sweep(checkpoint={"every_steps": 1, "keep": 9})


def trial_folder(storage: Path, trial_id: str) -> Path:
    """As a sweep's storage has it."""
    folder = storage / "small" / "trials" / trial_id
    folder.mkdir(parents=True)
    (storage / "small" / "sweep.yaml").touch()
    return folder


@pytest.fixture(scope="module")
def driver(
    local_ray: None, sweep: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Driver]:
    pool = start_pool("resident", GroupSpec(max_attempts=2))
    with GroupManager(
        sweep=sweep, pool=pool, pool_name="resident", scratch=tmp_path_factory.mktemp("scratch")
    ):
        yield Driver(pool)


@pytest.fixture(scope="module")
def first(driver: Driver, sweep: Any) -> Delivery:
    """The trial's files from a group that has served none before."""
    left = driver.train("first", sweep.trial)
    assert isinstance(left, Delivery)
    assert left.files is not None
    return left


def digests(left: Delivery | Failed) -> dict[str, str]:
    """sha256 of the files that a trial left."""
    assert isinstance(left, Delivery), left
    assert left.files is not None
    return left.files.digests


def with_adapter(trial: TrialSpec, **fields: Any) -> TrialSpec:
    return trial.model_copy(update={"adapter": trial.adapter.model_copy(update=fields)})


def with_training(trial: TrialSpec, **fields: Any) -> TrialSpec:
    return trial.model_copy(update={"training": trial.training.model_copy(update=fields)})


def test_a_trial_leaves_its_adapter_and_its_results(first: Delivery) -> None:
    assert {"adapter_config.json", "adapter_model.safetensors"} <= digests(first).keys()
    assert len(first.results) == 8


def test_a_used_group_gives_the_same_bytes_as_a_fresh_one(
    driver: Driver, sweep: Any, first: Delivery
) -> None:
    other = driver.train("other", with_adapter(sweep.trial, rank=8, mask="step"))
    again = driver.train("again", sweep.trial)
    assert digests(other)[WEIGHTS] != digests(first)[WEIGHTS]
    assert digests(again) == digests(first)
    assert again.results == first.results


def test_a_group_scores_the_untrained_model_as_a_trial_would_be(
    driver: Driver, sweep: Any, first: Delivery
) -> None:
    outcome = driver.score("untrained/validation", sweep.trial, Scoring(split="validation"))
    assert outcome.files is None
    examples = [(one.benchmark, one.example_id) for one in outcome.results]
    assert sorted(examples) == sorted((one.benchmark, one.example_id) for one in first.results)
    # It is no trial's, and changes none.
    again = driver.train("after it", sweep.trial)
    assert digests(again) == digests(first)


def test_a_group_scores_an_adapter_as_it_was_scored_while_it_was_trained(
    driver: Driver, sweep: Any, first: Delivery
) -> None:
    scoring = Scoring(split="validation", files=first.files)
    outcome = driver.score("test/first", sweep.trial, scoring)
    assert outcome.results == first.results
    again = driver.train("after its adapter", sweep.trial)
    assert digests(again) == digests(first)


def test_a_scorer_that_fails_leaves_its_reason_and_the_group_goes_on(
    driver: Driver, sweep: Any, first: Delivery, tmp_path: Path
) -> None:
    (tmp_path / "own.py").write_text(
        "def rate(response, reference):\n    raise OSError('no key')\n"
    )
    records = [
        {"instruction": f"Say {each}.", "output": str(each), "answer": str(each)}
        for each in range(40)
    ]
    (tmp_path / "own.json").write_text(json.dumps(records))
    own = {"data": str(tmp_path / "own.json"), "scoring": f"{tmp_path / 'own.py'}:rate"}
    given = sweep.trial.model_dump()
    given["task"] |= {"benchmarks": {"own": own}, "num_train": 8, "num_validation": 8}
    spec = type(sweep.trial).model_validate(given)
    outcome = driver.score("own", spec, Scoring(split="validation"))
    assert isinstance(outcome, Failed)
    assert "no key" in outcome.reason
    assert digests(driver.train("after its scorer", sweep.trial)) == digests(first)


def test_a_stopped_trial_leaves_an_adapter_of_that_moment_and_the_group_goes_on(
    driver: Driver, sweep: Any, first: Delivery
) -> None:
    stopped = driver.train("stopped", sweep.trial, evaluations=1)
    assert isinstance(stopped, Delivery)
    assert digests(stopped)[WEIGHTS] != digests(first)[WEIGHTS]
    assert digests(driver.train("after stopped", sweep.trial)) == digests(first)


def test_a_diverged_trial_fails_with_its_reason_and_the_group_goes_on(
    driver: Driver, sweep: Any, first: Delivery
) -> None:
    diverged = driver.train("diverged", with_training(sweep.trial, learning_rate=1e30))
    assert isinstance(diverged, Failed)
    assert "nan at step" in diverged.reason
    assert digests(driver.train("after diverged", sweep.trial)) == digests(first)


@pytest.mark.faults
@pytest.mark.slow
def test_a_killed_worker_costs_what_follows_the_checkpoint_and_changes_nothing(
    driver: Driver, sweep: Any, first: Delivery, tmp_path: Path
) -> None:
    folder = trial_folder(tmp_path, "killed")
    driver.call("take_beginnings")
    driver.submit("killed", sweep.trial, folder)
    assert driver.evaluation("killed") == 1
    written = {
        path: path.stat().st_mtime_ns for path in folder.glob("checkpoints/step-*/state.json")
    }
    assert {path.parent.name for path in written} >= {"step-00000001"}
    os.kill(worker_pids()[-1], signal.SIGKILL)
    driver.call("go_on", "killed", 1)
    assert driver.evaluation("killed") == 2
    outcome = driver.call("outcome", "killed", TIMEOUT_S)
    assert [each.attempt for each in driver.call("take_beginnings")] == [1, 2]
    assert digests(outcome) == digests(first)
    assert len(outcome.results) == 8
    # A step that was repeated would have been saved again.
    assert written == {path: path.stat().st_mtime_ns for path in written}
    steps = sorted(path.name for path in folder.glob("checkpoints/*"))
    assert steps == [f"step-0000000{step}" for step in range(1, 5)]


@pytest.mark.slow
def test_a_recycled_group_has_fresh_processes_and_gives_the_same_bytes(
    local_ray: None,
    small_sweep: Callable[..., Any],
    first: Delivery,
    driver: Driver,
    tmp_path: Path,
) -> None:
    driver.call("close")
    unsaved = {"every_steps": None, "every_minutes": None}
    sweep = small_sweep(group={"recycle_after": 1}, checkpoint=unsaved)
    folder = trial_folder(tmp_path, "interrupted")
    pool = start_pool("recycling", GroupSpec(max_attempts=1))
    with GroupManager(sweep=sweep, pool=pool, pool_name="recycling", scratch=tmp_path):
        recycling = Driver(pool)
        outcomes, pids = [], []
        for name in ("one", "two"):
            outcomes.append(recycling.train(name, sweep.trial))
            pids.append(set(worker_pids()))
        recycling.submit("interrupted", sweep.trial, folder)
        assert recycling.evaluation("interrupted") == 1
    # Closing saved the trial that waited, and left it without an outcome.
    assert recycling.call("outcome", "interrupted", 0.1) is None
    [checkpoint] = folder.glob("checkpoints/*")
    assert json.loads((checkpoint / "state.json").read_text())["evaluation"] == 1
    assert [digests(outcome) for outcome in outcomes] == [digests(first)] * 2
    assert not pids[0] & pids[1]


def worker_pids() -> list[int]:
    """Processes of the living Ray Train workers, oldest first."""
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        alive = [
            actor["Address"]["Pid"] if "Pid" in actor["Address"] else actor["Pid"]
            for actor in state.actor_table(None).values()
            if actor["State"] == "ALIVE" and "TrainWorker" in actor["ActorClassName"]
        ]
        if alive:
            return sorted(alive)
        time.sleep(0.2)
    raise AssertionError("no Ray Train worker is alive")
