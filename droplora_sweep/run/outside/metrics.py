"""Metrics of a running sweep, through Ray's metrics to Prometheus.

Each node of a Ray with a dashboard has an endpoint that Prometheus reads; Ray's documentation tells
how to find them. A Ray that a driver starts for itself has no dashboard, and exports none.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from droplora_sweep.records.trial import TrialState

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from droplora_sweep.records.trial import TrialRecord

PREFIX = "droplora"
INTERVAL_S = 5.0
"""Prometheus reads every 15 s unless told otherwise, and Ray exports every 10 s."""
METRICS = {
    "trials": "Trials by state, those of the confirmation included",
    "groups": "Groups of workers by what they do: training, waiting, or released",
    "queue": "Trials and models to score that no group has yet",
    "unpublished_runs": "Runs that MLflow does not have in their last state",
    "gpu_hours": "GPU hours of all trials so far",
}
"""Names behind ``droplora_``, with what they measure."""
STATES = tuple(state.value.lower() for state in TrialState)


class Metrics:
    """Gauges of one sweep.

    Args:
        sweep: Its name, a tag of each.
    """

    def __init__(self, sweep: str) -> None:
        from ray.util.metrics import Gauge

        keys = {"trials": ("state",), "groups": ("state",)}
        self._gauges = {
            name: Gauge(f"{PREFIX}_{name}", text, tag_keys=("sweep", *keys.get(name, ())))
            for name, text in METRICS.items()
        }
        for gauge in self._gauges.values():
            gauge.set_default_tags({"sweep": sweep})
        self._next_at = 0.0

    def is_due(self) -> bool:
        """Return True once in `INTERVAL_S`."""
        if time.monotonic() < self._next_at:
            return False
        self._next_at = time.monotonic() + INTERVAL_S
        return True

    def show(
        self,
        *,
        trials: Iterable[TrialRecord],
        groups: Mapping[str, int],
        num_waiting: int,
        num_unpublished: int,
        gpu_hours: float,
    ) -> None:
        """Set all of them.

        Args:
            trials: All trials of the sweep.
            groups: Number of groups by what they do.
            num_waiting: Work that no group has yet.
            num_unpublished: Runs that MLflow lacks, or has in an earlier state.
            gpu_hours: GPU hours of all trials.
        """
        states = [trial.state.value.lower() for trial in trials]
        for state in STATES:
            self._gauges["trials"].set(states.count(state), tags={"state": state})
        for state, count in groups.items():
            self._gauges["groups"].set(count, tags={"state": state})
        self._gauges["queue"].set(num_waiting)
        self._gauges["unpublished_runs"].set(num_unpublished)
        self._gauges["gpu_hours"].set(gpu_hours)
