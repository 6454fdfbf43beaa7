"""A trial as Ray Tune sees it: a client that passes results one way and decisions the other."""

from __future__ import annotations

from typing import Any

import ray
from ray import tune

from droplora_sweep.storage.object_store import below

from .messages import Message
from .pool import find_pool

WAIT_S = 30.0


class TrialClient(tune.Trainable):
    """Leases a group for one trial; holds no model, no data and no GPU.

    The config names the pool (``pool``), the trial (``trial_id``), the folder or URL that the
    trial's own is in (``trials_folder``), its spec as JSON (``spec``), and whether it is a member
    of a population (``is_member``). ``last_report`` is the
    last evaluation of a
    trial that an earlier driver left running, else None: it is the first result, marked
    ``delivered_again``, so that the scheduler decides on it.

    Each result has the evaluation's metrics, its 1-based number and its step; a trial that failed
    has ``failure`` and no metric, so that neither scheduler nor sampler sees a number.
    One that was stopped by hand has ``is_stopped``, beside what its last evaluation gave, if any.
    Tune calls `step` again only when its scheduler lets the trial go on.
    """

    def setup(self, config: dict[str, Any]) -> None:
        """Submit the trial."""
        self._pool = find_pool(config["pool"])
        self._trial_id: str = config["trial_id"]
        self._evaluation = 0
        self._last_evaluation: dict[str, Any] = {}
        self._last_report: dict[str, Any] | None = config["last_report"]
        delivered = self._last_report["evaluation"] if self._last_report else 0
        folder = below(config["trials_folder"], self._trial_id)
        is_member = config["is_member"]
        ray.get(
            self._pool.submit.remote(self._trial_id, config["spec"], delivered, folder, is_member)
        )

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Serve the next trial in the same process; a new one costs seconds."""
        self.setup(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """Let the group go on, and wait for its next evaluation."""
        if self._last_report is not None:
            last_report, self._last_report = self._last_report, None
            return {**self._result(Message(**last_report)), "delivered_again": True}
        if self._evaluation:
            ray.get(self._pool.go_on.remote(self._trial_id, self._evaluation))
        message: Message | None = None
        while message is None:
            answer: Any = ray.get(self._pool.receive.remote(self._trial_id, WAIT_S))
            message = answer
        if message.failure is not None:
            return {"failure": message.failure, "done": True}
        if message.is_stopped:
            return {**self._last_evaluation, "is_stopped": True, "done": True}
        return self._result(message)

    def _result(self, message: Message) -> dict[str, Any]:
        self._evaluation = message.evaluation
        self._last_evaluation = {
            **message.metrics,
            "metric_names": sorted(message.metrics),
            "outcomes": message.outcomes,
            "step": message.step,
            "evaluation": message.evaluation,
            "num_evaluations": message.num_evaluations,
            "done": message.evaluation == message.num_evaluations,
        }
        return dict(self._last_evaluation)
