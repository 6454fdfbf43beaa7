"""Faults of whole sweeps, where one part alone has to bear them: in seconds, without Ray.

The other modules here have the whole sweeps.
"""

from __future__ import annotations

import math
import pickle
import time
from typing import TYPE_CHECKING

import pytest
from mlflow import MlflowClient
from optuna.trial import TrialState as OptunaState

from droplora_sweep.errors import SweepError
from droplora_sweep.ledger.reader import Ledger
from droplora_sweep.ledger.writer import LedgerWriter
from droplora_sweep.mlflow_view.publisher import MlflowPublisher, publish_all
from droplora_sweep.mlflow_view.ui import mlflow_uri
from droplora_sweep.publishing import publish_folder
from droplora_sweep.records.trial import TrialState
from droplora_sweep.training.checkpoints.store import FORMAT, TENSORS, read_checkpoint
from tests.ledger.conftest import Driver, make_sweep
from tests.recording import evaluated

from .damaging import Canary, fill, locked
from .mlflow_server import MlflowServer
from .table import recorded

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.faults

NAME = "demo"
LOCKED_S = 2.0
OUTAGE_S = 10.0
MAX_DELAY_S = 5.0


def begin(storage: Path) -> Driver:
    sweep = make_sweep(NAME)
    return Driver(LedgerWriter.create(storage, sweep), sweep)


def test_a_full_disk_takes_nothing_that_was_recorded(small_disk: Path) -> None:
    with recorded("ENOSPC on storage: the ledger") as row:
        driver = begin(small_disk)
        first = driver.run(0)
        filler = fill(small_disk)
        with pytest.raises(SweepError, match="cannot write: No space left on device") as caught:
            driver.run(1)
        row.injected = 1
        driver.ledger.close()
        left = Ledger.open(small_disk, NAME).records()
        assert [trial.trial_id for trial in left if trial.is_finished] == [first]
        filler.unlink()
        again = Driver(LedgerWriter.resume(small_disk, driver.sweep), driver.sweep)
        second = again.run(1)
        again.ledger.close()
        after = Ledger.open(small_disk, NAME).records()
        row.result = "refused in a sentence; nothing lost"
        assert "\n" not in str(caught.value)
        assert [trial.trial_id for trial in after] == [first, second]
        assert {trial.state for trial in after} == {TrialState.COMPLETE}
        assert after[0] == left[0]


def test_a_study_that_another_process_locks_is_waited_for(tmp_path: Path) -> None:
    driver = begin(tmp_path)
    study = driver.ledger.study
    with recorded(f"study.db locked for {LOCKED_S:.0f} s: the study") as row:
        trial = study.ask()
        begun = time.monotonic()
        with locked(driver.ledger.directory / "study.db", LOCKED_S):
            row.injected = 1
            trial.report(0.5, step=1)
            study.tell(trial, 0.5)
            waited = time.monotonic() - begun
        row.result = f"told after {waited:.1f} s"
        assert waited > LOCKED_S - 1, "it met the lock"
        assert [each.state for each in study.trials] == [OptunaState.COMPLETE]
    driver.ledger.close()


def test_the_canary_sings(tmp_path: Path) -> None:
    """Else its silence would prove nothing."""
    pickle.loads(pickle.dumps(Canary(tmp_path / "loaded")))
    assert (tmp_path / "loaded").read_text() == "loaded"


def test_no_pickle_is_loaded_in_place_of_a_checkpoint_or_a_study(tmp_path: Path) -> None:
    canary = tmp_path / "loaded"
    malicious = pickle.dumps(Canary(canary))
    state = b'{"format": %d, "identity": "x"}' % FORMAT
    tensors = {f"{name}.safetensors": malicious for name in TENSORS}
    cases = {
        "weights": {"state.json": state, **tensors},
        "state": {"state.json": malicious, **tensors},
        "torch": {"state.json": state, "weights.pt": malicious, "weights.safetensors": malicious},
    }
    with recorded("malicious pickles in place of checkpoint and study: their readers") as row:
        for name, files in cases.items():
            publish_folder(tmp_path / name, files)
            with pytest.raises(SweepError, match="must be safetensors and JSON as written here"):
                read_checkpoint(tmp_path / name, "x")
            row.injected += 1
        driver = begin(tmp_path)
        (driver.ledger.directory / "study.db").write_bytes(malicious)
        row.injected += 1
        assert driver.ledger.study.trials == []
        assert (driver.ledger.directory / "study.db.damaged").read_bytes() == malicious
        driver.ledger.close()
        row.result = "none was loaded" if not canary.exists() else "loaded"
        assert not canary.exists()


def test_nan_and_infinity_in_metrics_are_kept_and_published(tmp_path: Path) -> None:
    odd = {"val/choice": math.nan, "val/mean": math.nan, "train/loss": math.inf, "low": -math.inf}
    with recorded("NaN and infinity in metrics: ledger and MLflow") as row:
        driver = begin(tmp_path)
        name = driver.start(0)
        driver.ledger.trial_reported(name, evaluated(1, 10, odd, num_evaluations=2))
        driver.finish(name, TrialState.FAILED, "loss is nan at step 11")
        row.injected = len(odd)
        driver.ledger.close()
        ledger = Ledger.open(tmp_path, NAME)
        kept = ledger.trial(name).evaluations[0].metrics
        assert {key: repr(value) for key, value in kept.items()} == {
            key: repr(value) for key, value in odd.items()
        }
        report = publish_all(ledger)
        assert report.is_complete, report.error
        client = MlflowClient(mlflow_uri(tmp_path))
        [run] = client.search_runs([driver.experiment_id(client)], f"tags.trial_id = '{name}'")
        row.result = f"kept; the run is {run.info.status}"
        assert run.info.status == "FAILED"
        assert math.isnan(run.data.metrics["val/choice"])
        assert run.data.metrics["train/loss"] > 1e308, "MLflow's largest number"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_killed_server_delays_no_writer_and_is_caught_up_with(tmp_path: Path) -> None:
    storage = tmp_path / "results"
    storage.mkdir()
    server = MlflowServer(storage)
    with recorded(f"MLflow server killed for {OUTAGE_S:.0f} s: the publisher") as row:
        try:
            server.start()
            driver = begin(storage)
            publisher = MlflowPublisher(driver.ledger, server.uri)
            names = [driver.run(0)]
            server.kill()
            row.injected = 1
            longest = 0.0
            killed = time.monotonic()
            while time.monotonic() - killed < OUTAGE_S:
                begun = time.monotonic()
                names.append(driver.run(len(names)))
                longest = max(longest, time.monotonic() - begun)
                time.sleep(1)
            server.start()
            names.append(driver.run(len(names)))
            report = publisher.close()
            client = MlflowClient(mlflow_uri(storage))
            runs = client.search_runs([driver.experiment_id(client)])
        finally:
            server.kill()
        row.result = f"nothing lacks; longest trial {longest:.1f} s"
        assert report.is_complete, report.error
        published = [run.data.tags["trial_id"] for run in runs if "trial_id" in run.data.tags]
        assert sorted(published) == names
        assert longest < MAX_DELAY_S
    driver.ledger.close()
