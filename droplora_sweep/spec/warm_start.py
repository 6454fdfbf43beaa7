"""Where a search takes earlier results from."""

from __future__ import annotations

from pydantic import model_validator

from .base import Count, PathText, SpecModel, broken_rule
from .tracking_uri import TrackingUri


class WarmStartSpec(SpecModel):
    """Trials of an earlier sweep, or of an MLflow experiment that a sweep was published to.

    Those that are trials of this sweep but for their seed (same task, data, model and fixed
    settings, searched values in this space) inform the sampler as they are. Of all others only the
    best settings are taken, as points to run early: their scores are on another scale. Neither
    counts as a trial of this sweep.
    """

    sweep: str | None = None
    """Name of the earlier sweep."""
    storage: PathText | None = None
    """Folder or URL that the sweep is in; this sweep's where null."""
    mlflow_experiment: str | None = None
    """Name of the MLflow experiment, ``<sweep>/<task>`` where this program made it."""
    mlflow_uri: TrackingUri | None = None
    """Its tracking server; the store in this sweep's storage where null."""
    max_trials: Count = 100
    """At most so many trials inform the sampler, spread evenly over their ranks."""
    num_points: Count = 3
    """So many of the best settings of another task or model are run early."""

    @model_validator(mode="after")
    def _one_source(self) -> WarmStartSpec:
        if (self.sweep is None) == (self.mlflow_experiment is None):
            raise broken_rule("must have either `sweep` or `mlflow_experiment`")
        if self.storage is not None and self.sweep is None:
            raise broken_rule(f"must be left out without `sweep`, got {self.storage!r}", "storage")
        if self.mlflow_uri is not None and self.mlflow_experiment is None:
            problem = f"must be left out without `mlflow_experiment`, got {self.mlflow_uri!r}"
            raise broken_rule(problem, "mlflow_uri")
        return self

    @property
    def name(self) -> str:
        """What is read, for messages."""
        return self.sweep or f"MLflow experiment {self.mlflow_experiment}"
