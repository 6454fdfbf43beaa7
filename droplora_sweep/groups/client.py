"""A trial as Ray Tune sees it: a client that passes results one way and decisions the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ray
from ray import tune

from .pool import find_pool

if TYPE_CHECKING:
    from .leases import Message

WAIT_S = 30.0


class TrialClient(tune.Trainable):
    """Leases a group for one trial; holds no model, no data and no GPU.

    The config names the pool (``pool``), the trial (``trial_id``) and its spec as JSON (``spec``).
    Each result has the evaluation's metrics, its 1-based number and its step; a trial that
    failed has ``failure`` and no metric, so that neither scheduler nor sampler sees a number.
    Tune calls `step` again only when its scheduler lets the trial go on.
    """

    def setup(self, config: dict[str, Any]) -> None:
        """Submit the trial."""
        self._pool = find_pool(config["pool"])
        self._trial_id: str = config["trial_id"]
        self._evaluation = 0
        ray.get(self._pool.submit.remote(self._trial_id, config["spec"]))

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Serve the next trial in the same process; a new one costs seconds."""
        self.setup(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """Let the group go on, and wait for its next evaluation."""
        if self._evaluation:
            ray.get(self._pool.go_on.remote(self._trial_id, self._evaluation))
        message: Message | None = None
        while message is None:
            answer: Any = ray.get(self._pool.receive.remote(self._trial_id, WAIT_S))
            message = answer
        if message.failure is not None:
            return {"failure": message.failure, "done": True}
        self._evaluation = message.evaluation
        return {
            **message.metrics,
            "metric_names": sorted(message.metrics),
            "step": message.step,
            "evaluation": message.evaluation,
            "num_evaluations": message.num_evaluations,
            "done": message.evaluation == message.num_evaluations,
        }
