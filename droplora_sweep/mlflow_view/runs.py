"""Brings MLflow's runs of one sweep to the state of the ledger's records.

Every call may be repeated, by this process or by another: runs are found by their tags before
they are created, tags depend on the record alone, and metrics carry the ledger's times, so that
MLflow's database recognises a point it already has. MLflow refuses a param's second value, so only
what a trial was started with is a param; settings of the sweep, which may continue with others,
are tags. A finished trial's run gets the tag ``published`` last of all, and is left alone from then
on, but for the test scores of a winner, which come later and have the tag ``tested``. The run of
a failed trial that is retried is opened again: it loses the tags that tell of the failure.

A run that was deleted in MLflow is restored: the view shows all of the ledger. Where a parent run
is gone for good, a new one is made and its trials' runs are put below it.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag, ViewType
from mlflow.utils.mlflow_tags import (
    MLFLOW_DATASET_CONTEXT,
    MLFLOW_LOGGED_ARTIFACTS,
    MLFLOW_PARENT_RUN_ID,
    MLFLOW_RUN_NOTE,
)

from droplora_sweep.errors import SweepError
from droplora_sweep.ledger.files import COLUMNS, read_results
from droplora_sweep.records.layout import FAILURE_LOG, SPEC, SUMMARY, TRIAL, trial_directory
from droplora_sweep.spec.metric_names import score_name

from . import values
from .client import all_runs, connect, find_experiment, make_experiment, require_known_scheme
from .descriptions import Answer, sweep_note
from .saved_views import save_views
from .summary_runs import SummaryRuns
from .views import all_sweeps_view, sweep_view

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime
    from typing import TypeAlias

    from mlflow import MlflowClient

    from droplora_sweep.ledger.reader import Ledger
    from droplora_sweep.records.summaries import ArmSummary
    from droplora_sweep.records.trial import SweepRecord, TrialRecord

    Summarise: TypeAlias = Callable[[Ledger], Sequence[ArmSummary]]

PARENT = "sweep"
"""Key of the parent run among the runs by trial id."""

METRICS_PER_CALL = 800
"""MLflow takes 1,000 values in a call; params and tags go with the first."""

DIGEST_CHARACTERS = 36
"""MLflow's limit for a dataset's digest."""


@dataclass(frozen=True)
class _KnownRun:
    """A run as it was found, or made.

    Attributes:
        run_id: MLflow's.
        params: Params that it was found with.
        tags: Tags that it was found with, and those that it was marked with since.
    """

    run_id: str
    params: Mapping[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def num_retries(self) -> int:
        """Number of retries of its trial that it knows of."""
        return int(self.tags.get(values.RETRIES, 0))

    def has(self, mark: str) -> bool:
        """Return whether the run is marked."""
        return self.tags.get(mark) == "true"


class SweepRuns:
    """The parent run and the trials' runs of one sweep on one MLflow store.

    Making one contacts nothing; a URI of an unknown kind is refused at once, with a `SweepError`.

    Args:
        ledger: The sweep's.
        uri: Tracking URI; None is the sqlite store of the ledger's storage.
        summarise: Gives the summaries of confirmed settings, to be runs of their own.
    """

    def __init__(self, ledger: Ledger, uri: str | None, summarise: Summarise | None = None) -> None:
        require_known_scheme(uri)
        self._summarise = summarise
        self._summarised: tuple[str, ...] = ()
        self._ledger = ledger
        self._uri = uri
        self._experiment_id = ""
        self._view: str | None = None
        self._runs: dict[str, _KnownRun] = {}
        self._last_report: dict[str, datetime] = {}

    @cached_property
    def _client(self) -> MlflowClient:
        """Made by the first call that needs it: a store may take long to open, or not open."""
        return connect(self._ledger.storage, self._uri)

    def forget(self) -> None:
        """Look the runs up again before the next call.

        To be called after an error, when it is not known which effects took place.
        """
        self._experiment_id = ""
        self._summarised = ()
        self._last_report.clear()

    def publish_sweep(self, *, is_live: bool) -> None:
        """Bring the parent run up to date; ``is_live`` says that the sweep is still going on."""
        run_id = self._parent()
        sweep = self._ledger.record
        counts = values.trial_counts(sweep)
        metrics = _metrics(counts, values.last_change(sweep), values.num_finished(sweep))
        for reference in sweep.references.values():
            # Of a step of their own, so that a point that is logged again is the same.
            metrics += _metrics(values.reference_metrics(reference), reference.time, 0)
        self._log(run_id, metrics, {}, values.sweep_tags(sweep, is_live=is_live))
        self._log_tables(run_id, {"trials.json": values.trials_table(sweep.trials)})
        if self._ledger.summary_directory.is_dir():
            self._client.log_artifacts(run_id, str(self._ledger.summary_directory), SUMMARY)
        self._describe(run_id)
        self._set_status(run_id, values.sweep_status(sweep, is_live=is_live), sweep.finished)
        self._publish_summaries(run_id, sweep)

    def _publish_summaries(self, parent: str, sweep: SweepRecord) -> None:
        """Publish confirmed settings, unless no run has ended since they were."""
        ended = tuple(each.trial_id for each in sweep.confirm_trials if each.is_finished)
        if self._summarise is None or ended == self._summarised:
            return
        runs = SummaryRuns(self._client, self._experiment_id, parent, sweep)
        runs.publish(self._summarise(self._ledger))
        self._summarised = ended

    def publish_trial(self, trial: TrialRecord, *, is_live: bool) -> None:
        """Bring a trial's run up to date, creating it where missing."""
        parent = self._parent()
        tags = values.trial_tags(trial, self._ledger.record, is_live=is_live)
        run = self._runs.get(trial.trial_id)
        if run is None:
            name = values.trial_run_name(trial)
            tags_at_birth = {**tags, MLFLOW_PARENT_RUN_ID: parent}
            run = self._create(trial.trial_id, name, trial.started, tags_at_birth)
        if run.num_retries < len(trial.failures):
            self._reopen(trial, run)
        if run.has("published"):
            self._publish_test(trial, run)
            return
        run_id = run.run_id
        last_report = self._last_report.get(trial.trial_id)
        params = values.trial_params(trial) if last_report is None else {}
        params, changed = values.new_params(params, run.params)
        self._log(run_id, _trial_metrics(trial, last_report), params, {**tags, **changed})
        self._last_report[trial.trial_id] = (
            trial.evaluations[-1].time if trial.evaluations else trial.started
        )
        # Before the files: a run's end must not depend on an artifact store.
        self._set_status(run_id, values.trial_status(trial, is_live=is_live), trial.finished)
        if trial.is_finished:
            self._client.log_inputs(run_id, datasets=self._datasets())
            self._log_files(run_id, trial)
            self._mark(run, "published")
            self._publish_test(trial, run)

    def _reopen(self, trial: TrialRecord, run: _KnownRun) -> None:
        """Take back what a retried trial's run says of the failure, its count of retries last."""
        found = self._client.get_run(run.run_id).data.tags
        for name in values.outdated_by_retry(found):
            self._client.delete_tag(run.run_id, name)
            run.tags.pop(name, None)
        self._last_report.pop(trial.trial_id, None)
        num_retries = str(len(trial.failures))
        self._client.set_tag(run.run_id, values.RETRIES, num_retries)
        run.tags[values.RETRIES] = num_retries

    def _mark(self, run: _KnownRun, mark: str) -> None:
        self._client.set_tag(run.run_id, mark, "true")
        run.tags[mark] = "true"

    def _publish_test(self, trial: TrialRecord, run: _KnownRun) -> None:
        """Add a winner's test scores to its run, which was published before there were any."""
        if trial.test_results is None or run.has("tested"):
            return
        assert trial.finished is not None, "only finished trials are tested"
        scores = {score_name(name, "test"): score for name, score in trial.test_scores.items()}
        step = trial.evaluations[-1].step if trial.evaluations else 0
        self._log(run.run_id, _metrics(scores, trial.finished, step), {}, {})
        self._client.log_artifact(run.run_id, str(trial.test_results))
        self._mark(run, "tested")

    def _parent(self) -> str:
        """Id of the parent run; finds the sweep's runs if they are not known."""
        sweep = self._ledger.record
        if not self._experiment_id:
            self._experiment_id = self._find_experiment(sweep.experiment)
            self._find_runs(sweep.sweep_id)
            self._describe_sweep(sweep)
        return self._runs[PARENT].run_id

    def _describe_sweep(self, sweep: SweepRecord) -> None:
        """Log the constant part of the parent run, which is created where missing."""
        tags = values.sweep_tags(sweep, is_live=True)
        parent = self._runs.get(PARENT) or self._create(PARENT, sweep.name, sweep.started, tags)
        run_id = parent.run_id
        settings = values.sweep_settings(sweep)
        self._log(run_id, [], {}, settings)
        for name in values.outdated_settings(parent.tags, settings):
            self._client.delete_tag(run_id, name)
        self._adopt(run_id)
        self._client.log_artifact(run_id, str(self._ledger.directory / SPEC))
        self._client.log_inputs(run_id, datasets=self._datasets())
        view = sweep_view(sweep)
        saved = save_views(self._client, self._experiment_id, (view, all_sweeps_view()))
        self._view = view.key if view.key in saved else None

    def _find_experiment(self, name: str) -> str:
        storage, uri = self._ledger.storage, self._uri
        experiment = find_experiment(self._client, storage, uri, name)
        if experiment is None:
            return make_experiment(self._client, storage, uri, name)
        if experiment.lifecycle_stage == "deleted":
            raise SweepError(
                f"MLflow experiment {name}: must not be deleted; restore it to publish to it"
            )
        return experiment.experiment_id

    def _find_runs(self, sweep_id: str) -> None:
        self._runs.clear()
        for view in (ViewType.ACTIVE_ONLY, ViewType.DELETED_ONLY):
            wanted = f"tags.sweep_id = '{sweep_id}'"
            for run in all_runs(self._client, self._experiment_id, wanted, view):
                key = run.data.tags.get("trial_id", PARENT)
                if key in self._runs:
                    continue
                if view == ViewType.DELETED_ONLY:
                    self._client.restore_run(run.info.run_id)
                self._runs[key] = _KnownRun(run.info.run_id, run.data.params, dict(run.data.tags))

    def _adopt(self, parent: str) -> None:
        """Put trials' runs below the parent run, those of an earlier one that is gone too."""
        for key, run in self._runs.items():
            if key != PARENT and run.tags.get(MLFLOW_PARENT_RUN_ID) != parent:
                self._client.set_tag(run.run_id, MLFLOW_PARENT_RUN_ID, parent)

    def _create(self, key: str, name: str, start: datetime, tags: Mapping[str, str]) -> _KnownRun:
        run = self._client.create_run(
            self._experiment_id, start_time=_milliseconds(start), run_name=name, tags=dict(tags)
        )
        self._runs[key] = _KnownRun(run.info.run_id, tags=dict(tags))
        return self._runs[key]

    def _log(
        self,
        run_id: str,
        metrics: list[Metric],
        params: Mapping[str, str],
        tags: Mapping[str, str],
    ) -> None:
        """Log everything in as few calls as MLflow allows: each is a transaction."""
        log_params = [Param(name, value) for name, value in params.items()]
        log_tags = [RunTag(name, value) for name, value in tags.items()]
        first, rest = metrics[:METRICS_PER_CALL], metrics[METRICS_PER_CALL:]
        self._client.log_batch(run_id, metrics=first, params=log_params, tags=log_tags)
        for start in range(0, len(rest), METRICS_PER_CALL):
            self._client.log_batch(run_id, metrics=rest[start : start + METRICS_PER_CALL])

    def _log_files(self, run_id: str, trial: TrialRecord) -> None:
        if trial.adapter is not None:
            self._client.log_artifacts(run_id, str(trial.adapter), "adapter")
        if trial.results is not None:
            self._client.log_artifact(run_id, str(trial.results))
            rows = read_results(trial.results)
            data = [[row[column] for column in COLUMNS] for row in rows]
            self._log_tables(run_id, {"results.json": {"columns": list(COLUMNS), "data": data}})
        folder = trial_directory(self._ledger.directory, trial.trial_id)
        self._client.log_artifact(run_id, str(folder / TRIAL))
        if (folder / FAILURE_LOG).exists():
            self._client.log_artifact(run_id, str(folder / FAILURE_LOG))

    def _log_tables(self, run_id: str, tables: Mapping[str, dict[str, list[Any]]]) -> None:
        """Write tables as ``MlflowClient.log_table`` does, but replace where that appends."""
        with tempfile.TemporaryDirectory() as folder:
            for name, table in tables.items():
                path = Path(folder) / name
                path.write_text(json.dumps(table, allow_nan=False))
                self._client.log_artifact(run_id, str(path))
        logged = [{"path": name, "type": "table"} for name in tables]
        self._client.set_tag(run_id, MLFLOW_LOGGED_ARTIFACTS, json.dumps(logged))

    def _describe(self, run_id: str) -> None:
        answer = Answer.read(self._ledger.summary_directory)
        note = sweep_note(self._experiment_id, run_id, self._view, answer)
        if note and note != self._runs[PARENT].tags.get(MLFLOW_RUN_NOTE):
            self._client.set_tag(run_id, MLFLOW_RUN_NOTE, note)
            self._runs[PARENT].tags[MLFLOW_RUN_NOTE] = note

    def _datasets(self) -> list[DatasetInput]:
        sweep = self._ledger.record
        return [
            DatasetInput(
                Dataset(
                    name,
                    digest[:DIGEST_CHARACTERS],
                    "local",
                    json.dumps(values.dataset_source(sweep, name)),
                ),
                # The split is what MLflow's UI calls the context of a dataset.
                [InputTag(MLFLOW_DATASET_CONTEXT, name.rpartition("/")[2])],
            )
            for name, digest in sweep.data_digests.items()
        ]

    def _set_status(self, run_id: str, status: str, end: datetime | None) -> None:
        if status == "RUNNING":
            self._client.update_run(run_id, status=status)
        else:
            end_time = _milliseconds(end) if end else None
            self._client.set_terminated(run_id, status, end_time)


def _trial_metrics(trial: TrialRecord, after: datetime | None) -> list[Metric]:
    """The metrics of a trial's reports later than ``after``, and of its end."""
    metrics = []
    for report in trial.evaluations:
        if after is None or report.time > after:
            metrics += _metrics(report.metrics, report.time, report.step)
    if trial.finished is not None:
        last = trial.evaluations[-1].metrics if trial.evaluations else {}
        step = trial.evaluations[-1].step if trial.evaluations else 0
        failed_at = max((failure.step for failure in trial.failures), default=0)
        if failed_at > step:
            # MLflow shows the value of the highest step, which would be the failed attempt's.
            step, last = failed_at, {}
        added = {
            name: value
            for name, value in trial.metrics.items()
            if name not in last or str(value) != str(last[name])
        }
        metrics += _metrics(added, trial.finished, step)
    return metrics


def _metrics(metrics: Mapping[str, float], time: datetime, step: int) -> list[Metric]:
    timestamp = _milliseconds(time)
    return [Metric(name, value, timestamp, step) for name, value in metrics.items()]


def _milliseconds(time: datetime) -> int:
    return round(time.timestamp() * 1000)
