"""Ray Tune's searcher over a fixed list of trials: nothing is drawn, and nothing is told."""

from __future__ import annotations

from collections import deque
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ray.tune.search import Searcher

from .scheduler import BASELINE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .known import OpenTrial
    from .suggestion import Suggestion


class QueueSearcher(Searcher):
    """Hands out trials in order, each once.

    Args:
        trials: What is to run; those that were running before have their last report.
        room: How many trials may run now; the cluster can grow and shrink.
        metric: What the trials report; nothing is compared by it here.
    """

    def __init__(
        self, trials: Iterable[OpenTrial], room: Callable[[], int], *, metric: str
    ) -> None:
        super().__init__(metric=metric, mode="max")
        self._waiting = deque(trials)
        self._room = room
        self._live: dict[str, Suggestion] = {}

    def set_search_properties(self, *args: Any, **kwargs: Any) -> bool:
        """Tune offers metric, mode and space; none matters."""
        return True

    def suggest(self, trial_id: str) -> Any:
        """The next trial's config; None while there is no room, FINISHED at the end."""
        if not self._waiting:
            return Searcher.FINISHED
        if len(self._live) >= self._room():
            return None
        taken = self._waiting.popleft()
        suggestion = self._live[trial_id] = taken.suggestion
        return {
            "trial_id": suggestion.trial_id,
            "spec": suggestion.spec_to_run.model_dump_json(),
            "last_report": taken.last_report and asdict(taken.last_report),
            "is_member": False,
            # Nothing stops a trial here.
            BASELINE: True,
        }

    def suggestion(self, trial_id: str) -> Suggestion:
        """What a running Tune trial is."""
        return self._live[trial_id]

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Make room for the next one."""
        self._live.pop(trial_id, None)

    def abandon(self) -> None:
        """The sweep is cut short: what has not ended is taken up some other day."""

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles what it is given, for a restore that never happens here."""
        return {}

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: the ledger knows what has ended."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore, see `save`."""
