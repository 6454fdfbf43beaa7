"""Each confirmed setting is a run of its own in MLflow, with its mean and its interval."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from mlflow import MlflowClient

from droplora_sweep.ledger.reader import Ledger
from droplora_sweep.mlflow_view.publisher import publish_all
from droplora_sweep.mlflow_view.reading import published_trials
from droplora_sweep.mlflow_view.ui import mlflow_uri
from droplora_sweep.run.deciding import arm_summaries, confirmed
from tests.ledgers import KINDS
from tests.replaying import prefixes

if TYPE_CHECKING:
    from pathlib import Path

ADAPTER = {"adapter_config.json": b"{}"}
NAME = "confirmed"
FIRST_LOOK = 3


def runs_of(storage: Path) -> tuple[Any, list[Any], list[Any]]:
    """The client, the summary runs and the other ones."""
    client = MlflowClient(mlflow_uri(storage))
    experiments = [each.experiment_id for each in client.search_experiments()]
    runs = client.search_runs(experiments)
    summaries = [run for run in runs if "summary_of" in run.data.tags]
    return client, summaries, [run for run in runs if "summary_of" not in run.data.tags]


def test_confirmed_settings_are_summary_runs_that_are_published_once(tmp_path: Path) -> None:
    KINDS[NAME](tmp_path, ADAPTER)
    # At the first interim analysis, while a driver lives; then what came after it.
    runs = Ledger.open(tmp_path, NAME).confirm_records()
    num_first = FIRST_LOOK * len({run.arm for run in runs})
    assert num_first < len(runs), "seeds are added"
    for _, copy in prefixes(tmp_path, NAME, tmp_path / "copies"):
        ended = [run for run in Ledger.open(copy, NAME).confirm_records() if run.is_finished]
        if len(ended) == num_first:
            break
    report = publish_all(Ledger.open(copy, NAME), is_live=True, summarise=arm_summaries)
    assert report.is_complete, report.error
    _, first, _ = runs_of(copy)
    client = MlflowClient(mlflow_uri(copy))
    experiments = [each.experiment_id for each in client.search_experiments()]
    by_filter = client.search_runs(experiments, "tags.summary_of != ''")
    assert {run.info.run_id for run in by_filter} == {run.info.run_id for run in first}
    # One run of the control failed.
    assert {run.data.tags["seeds"] for run in first} == {"3", "2"}

    storage = copy
    lines = (tmp_path / NAME / "events.jsonl").read_bytes()
    (storage / NAME / "events.jsonl").write_bytes(lines)
    ledger = Ledger.open(storage, NAME)
    for _ in range(2):
        report = publish_all(ledger, summarise=arm_summaries)
        assert report.is_complete, report.error
        client, summaries, others = runs_of(storage)
        assert {run.info.run_id for run in summaries} == {run.info.run_id for run in first}
        [parent] = [run for run in others if "trial_id" not in run.data.tags]
        assert len(others) == 1 + len(ledger.records())
    by_arm = {run.data.tags["arm"]: run for run in summaries}
    for decision in confirmed(ledger):
        for one in (*decision.rates, *decision.controls):
            run = by_arm[one.arm.name]
            name = f"confirmed/{decision.benchmark}"
            assert run.data.metrics[f"{name}/mean"] == one.mean.value
            assert run.data.metrics[f"{name}/low"] == one.mean.low
            assert run.data.metrics[f"{name}/high"] == one.mean.high
            gain = run.data.metrics.get(f"gain/{decision.benchmark}/mean")
            assert gain == (one.difference and one.difference.estimate.value)
            assert float(run.data.params["pruning_rate"]) == one.arm.pruning_rate
            assert float(run.data.params["rank"]) > 0
            assert "seed" not in run.data.params
            assert run.info.status == "FINISHED"
            assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
            assert "sweep_id" not in run.data.tags
    history = client.get_metric_history(summaries[0].info.run_id, "confirmed/builtin_choice/mean")
    assert len({point.step for point in history}) > 1, "it is seen to settle"
    assert len(history) == len({(point.step, point.timestamp) for point in history})

    # Nothing that reads trials from MLflow takes one for a trial.
    experiment = client.get_experiment(parent.info.experiment_id).name
    trials = {trial.origin for trial in published_trials(experiment, None, storage)}
    complete = [trial for trial in ledger.records() if trial.state == "COMPLETE"]
    assert trials == {f"{NAME}/{trial.trial_id}" for trial in complete}

    # One that was deleted comes back, and no second one.
    client.delete_run(summaries[0].info.run_id)
    assert publish_all(ledger, summarise=arm_summaries).is_complete
    _, summaries, _ = runs_of(storage)
    assert {run.info.run_id for run in summaries} == {run.info.run_id for run in first}


def test_there_is_none_before_the_confirmation_decides(tmp_path: Path) -> None:
    KINDS["searched"](tmp_path, ADAPTER)
    ledger = Ledger.open(tmp_path, "searched")
    assert arm_summaries(ledger) == []


@pytest.mark.parametrize("kind", ["nothing", "retried"])
def test_their_names_tell_arm_and_setting(tmp_path: Path, kind: str) -> None:
    from droplora_sweep.mlflow_view.values import summary_params, summary_run_name

    KINDS[kind](tmp_path, ADAPTER)
    found = arm_summaries(Ledger.open(tmp_path, kind))
    assert found
    for one in found:
        name = summary_run_name(one)
        assert name.startswith(f"confirmed {one.arm.partition('-')[0]}")
        assert f" p={one.run.spec['adapter']['pruning_rate']:g}" in name
        assert "seed" not in summary_params(one)
