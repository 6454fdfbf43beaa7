"""A trial as Ray Tune sees it: a client that passes results one way and decisions the other."""

from __future__ import annotations

from typing import Any

import ray
from ray import tune

from droplora_sweep.records.messages import (
    POOL,
    Evaluated,
    Message,
    submission_of,
    tune_result,
)

from .pool import find_pool

WAIT_S = 30.0


class TrialClient(tune.Trainable):
    """Leases a group for one trial; holds no model, no data and no GPU.

    The config names the pool and holds the trial's `Submission`; each result is a message as
    `tune_result` makes one. Tune calls `step` again only if its scheduler lets the trial continue.
    """

    def setup(self, config: dict[str, Any]) -> None:
        """Submit the trial."""
        self._pool = find_pool(config[POOL])
        submission = submission_of(config)
        self._trial_id = submission.trial_id
        self._evaluation: int | None = None
        ray.get(self._pool.submit.remote(submission))

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Serve the next trial in the same process; a new one costs seconds."""
        self.setup(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """Let the group train on, and wait for its next evaluation."""
        if self._evaluation is not None:
            ray.get(self._pool.go_on.remote(self._trial_id, self._evaluation))
        message: Message | None = None
        while message is None:
            answer: Any = ray.get(self._pool.receive.remote(self._trial_id, WAIT_S))
            message = answer
        if isinstance(message, Evaluated):
            self._evaluation = message.evaluation.number
        return tune_result(message)
