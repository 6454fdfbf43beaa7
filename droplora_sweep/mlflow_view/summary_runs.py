"""Summary runs: one run of MLflow per confirmed setting, below the sweep's parent run.

With them MLflow's own charts show a score, with its interval, against the pruning rate. What is
true of trials' runs is true of these: they are found by their tags before they are created, and
a call may be repeated. They do not have the tag ``sweep_id``, by which trials' runs are found and
counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlflow.entities import Metric, Param, RunTag, ViewType
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from . import values
from .client import all_runs

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mlflow import MlflowClient

    from droplora_sweep.records.summaries import ArmSummary
    from droplora_sweep.records.trial import SweepRecord

SUMMARY_OF = "summary_of"
"""Tag of a summary run: the sweep's id."""


@dataclass(frozen=True)
class SummaryRuns:
    """The summary runs of one sweep on one store.

    Attributes:
        client: The store's.
        experiment_id: The sweep's experiment.
        parent: Id of the sweep's parent run.
        sweep: The sweep.
    """

    client: MlflowClient
    experiment_id: str
    parent: str
    sweep: SweepRecord

    def publish(self, summaries: Iterable[ArmSummary]) -> None:
        """Bring the summary runs up to date; those of arms without a summary stay as they are."""
        found = self._find()
        for summary in summaries:
            self._publish(summary, found)

    def _find(self) -> dict[str, tuple[str, Mapping[str, str]]]:
        """Return each summary run's id and params by its arm; deleted ones are restored."""
        found: dict[str, tuple[str, Mapping[str, str]]] = {}
        wanted = f"tags.{SUMMARY_OF} = '{self.sweep.sweep_id}'"
        for view in (ViewType.ACTIVE_ONLY, ViewType.DELETED_ONLY):
            for run in all_runs(self.client, self.experiment_id, wanted, view):
                arm = run.data.tags["arm"]
                if arm in found:
                    continue
                if view == ViewType.DELETED_ONLY:
                    self.client.restore_run(run.info.run_id)
                found[arm] = (run.info.run_id, run.data.params)
        return found

    def _publish(
        self, summary: ArmSummary, found: Mapping[str, tuple[str, Mapping[str, str]]]
    ) -> None:
        tags = {
            SUMMARY_OF: self.sweep.sweep_id,
            "sweep": self.sweep.name,
            "arm": summary.arm,
            "seeds": str(summary.num_seeds),
            MLFLOW_PARENT_RUN_ID: self.parent,
        }
        if summary.arm in found:
            run_id, logged = found[summary.arm]
        else:
            start = round(summary.run.started.timestamp() * 1000)
            name = values.summary_run_name(summary)
            run = self.client.create_run(
                self.experiment_id, start_time=start, run_name=name, tags=tags
            )
            run_id, logged = run.info.run_id, {}
        params, changed = values.new_params(values.summary_params(summary), logged)
        # The step is the number of seeds: charts show how the interval narrows.
        timestamp = round(summary.time.timestamp() * 1000)
        self.client.log_batch(
            run_id,
            metrics=[
                Metric(name, value, timestamp, summary.num_seeds)
                for name, value in summary.metrics.items()
            ],
            params=[Param(name, value) for name, value in params.items()],
            tags=[RunTag(name, value) for name, value in {**tags, **changed}.items()],
        )
        self.client.set_terminated(run_id, "FINISHED", timestamp)
