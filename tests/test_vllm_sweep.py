"""Real sweeps that vLLM decodes: one whose worker is killed, and one whose vLLM fails."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psutil
import pytest

from droplora_sweep.evaluation.serving.environment import environment_problem
from droplora_sweep.ledger.files import read_results
from droplora_sweep.ledger.reader import Ledger
from droplora_sweep.records.layout import RESULTS, TRIALS
from droplora_sweep.records.trial import SweepOutcome
from tests.evaluation.serving.environment import use_scripted_vllm
from tests.faults.oracle import MARK
from tests.faults.sweeping import (
    NAME,
    ONE_GROUP,
    TINY,
    actors,
    command,
    kill_all,
    saved_steps,
    start,
    to_end,
    wait_until,
)

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.slow, pytest.mark.ray, pytest.mark.timeout(900)]

SETTINGS = {
    **TINY,
    **ONE_GROUP,
    "search.num_trials": 2,
    "task.num_train": 32,
    "evaluation.backend": "vllm",
}


def servers(mark: str) -> list[int]:
    """Processes of a case that run vLLM's script."""
    found = []
    for process in psutil.process_iter():
        try:
            is_ours = process.environ().get(MARK) == mark
            if is_ours and any("vllm_server.py" in word for word in process.cmdline()):
                found.append(process.pid)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


@pytest.mark.vllm
@pytest.mark.skipif(
    environment_problem() is not None,
    reason="`make vllm` was not run, nor does DROPLORA_VLLM name what it makes",
)
def test_a_killed_worker_takes_its_server_along_and_the_sweep_goes_on(tmp_path: Path) -> None:
    mark = str(tmp_path)
    driver = start(command(tmp_path, **SETTINGS), mark)
    wait_until(lambda: bool(saved_steps(tmp_path, 0)), driver, "a first step")
    [first] = servers(mark)
    kill_all(actors(mark, "TrainWorker"))
    wait_until(lambda: first not in servers(mark), driver, "the end of its server")
    code, output = to_end(driver)
    assert code == 0, output
    assert servers(mark) == []
    ledger = Ledger.open(tmp_path, NAME)
    assert ledger.record.outcome is SweepOutcome.COMPLETE
    for trial in ledger.search_records():
        for evaluation in trial.evaluations:
            assert evaluation.metrics["vllm_share"] == 1
            assert evaluation.metrics["vllm_agreement"] > 0.98


def test_a_sweep_says_why_its_vllm_does_not_decode(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    use_scripted_vllm(monkeypatch, tmp_path, at="start", fault="die")
    mark, storage = str(tmp_path), tmp_path / "storage"
    code, output = to_end(start(command(storage, **SETTINGS), mark))
    assert code == 0, output
    died = "vLLM ended with code 3: OSError: the GPU fell off"
    assert f"group g0: transformers decodes in vLLM's place: {died}\n" in output
    assert servers(mark) == []
    ledger = Ledger.open(storage, NAME)
    for trial in ledger.search_records():
        assert {one.metrics["vllm_share"] for one in trial.evaluations} == {0}
        results = read_results(storage / NAME / TRIALS / trial.trial_id / RESULTS)
        # The canary is the first to try it.
        given_up = f"vLLM failed 2 times here, and is not tried again: {died}"
        reason = died if trial.trial_id.startswith("t0000-") else given_up
        assert {one["note"] for one in results} == {f"decoded by transformers: {reason}"}
