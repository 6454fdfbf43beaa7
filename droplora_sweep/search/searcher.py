"""Ray Tune's searcher over an Optuna study that outlives it.

Ray's own ``OptunaSearch`` tells a trial stopped early as complete, leaves one that ended in NaN
running for ever, and cannot run a trial only once; this one keeps Optuna's states true.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import optuna
from optuna.trial import TrialState as OptunaState
from ray.tune.search import Searcher

from droplora_sweep.spec import baselines

from .scheduler import BASELINE
from .suggestion import suggest

if TYPE_CHECKING:
    from collections.abc import Callable

    from droplora_sweep.spec import SearchSpec, SweepSpec, TrialSpec

    from .suggestion import Suggestion

MAX_REPEATS = 50
"""Draws of trials that were run before, in a row, until the space counts as exhausted."""


def make_sampler(search: SearchSpec, seed: int) -> optuna.samplers.BaseSampler:
    """Optuna's sampler; TPE's constant liar keeps parallel trials apart (arXiv 2304.11127)."""
    if search.sampler == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    return optuna.samplers.TPESampler(
        seed=seed,
        n_startup_trials=search.num_startup_trials,
        multivariate=True,
        group=True,
        constant_liar=True,
    )


class StudySearcher(Searcher):
    """Draws trials from an Optuna study and tells it how each ended.

    Args:
        sweep: The space, the number of trials and the metric, which is maximised.
        study: The study; the baselines are queued in it first.
        identify: Trial id and fingerprint of a numbered trial; a fingerprint that was drawn
            before is not run again, its first result is told instead.
        room: How many trials may run now; the cluster can grow and shrink.
    """

    def __init__(
        self,
        sweep: SweepSpec,
        study: optuna.Study,
        identify: Callable[[int, TrialSpec], tuple[str, str]],
        room: Callable[[], int],
    ) -> None:
        super().__init__(metric=sweep.search.metric, mode="max")
        self._sweep = sweep
        self._study = study
        self._identify = identify
        self._room = room
        self._live: dict[str, tuple[optuna.trial.Trial, Suggestion]] = {}
        self._ended: dict[str, float | None] = {}
        self._num_suggested = 0
        study.sampler = make_sampler(sweep.search, sweep.seed)
        if sweep.search.queue_baselines:
            for values in baselines(sweep):
                study.enqueue_trial(values, user_attrs={BASELINE: True})

    def set_search_properties(self, *args: Any, **kwargs: Any) -> bool:
        """Tune offers metric, mode and space; all three are the sweep's."""
        return True

    def suggest(self, trial_id: str) -> Any:
        """The next trial's config; None while there is no room, FINISHED at the end."""
        if self._num_suggested == self._sweep.search.num_trials:
            return Searcher.FINISHED
        if len(self._live) >= self._room():
            return None
        drawn = self._draw_new()
        if drawn is None:
            return Searcher.FINISHED
        self._live[trial_id] = drawn
        self._num_suggested += 1
        trial, suggestion = drawn
        return {
            "trial_id": suggestion.trial_id,
            "spec": suggestion.spec.model_dump_json(),
            BASELINE: trial.user_attrs.get(BASELINE, False),
        }

    def suggestion(self, trial_id: str) -> Suggestion:
        """What a running Tune trial is."""
        return self._live[trial_id][1]

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Tell the study an intermediate score, which TPE uses for trials stopped early."""
        self._report(self._live[trial_id][0], result)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Tell the study how the trial ended: complete, pruned or failed."""
        trial, suggestion = self._live.pop(trial_id)
        score = (result or {}).get(self.metric)
        self._ended[suggestion.fingerprint] = None
        if error or result is None or score is None or not math.isfinite(score):
            self._study.tell(trial, state=OptunaState.FAIL)
        elif result["evaluation"] < result["num_evaluations"]:
            self._report(trial, result)
            self._study.tell(trial, state=OptunaState.PRUNED)
        else:
            self._ended[suggestion.fingerprint] = score
            self._study.tell(trial, score)

    def _report(self, trial: optuna.trial.Trial, result: dict[str, Any]) -> None:
        score = result.get(self.metric)
        if score is not None and math.isfinite(score):
            trial.report(score, step=result["evaluation"])

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles what it is given, for a restore that never happens here."""
        return {}

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: the study is durable, and resuming never reads Tune's snapshot."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore, see `save`."""

    def _draw_new(self) -> tuple[optuna.trial.Trial, Suggestion] | None:
        running = {suggestion.fingerprint for _, suggestion in self._live.values()}
        for _ in range(MAX_REPEATS):
            trial = self._study.ask()
            suggestion = suggest(trial, self._sweep, self._identify)
            if suggestion.fingerprint not in running | self._ended.keys():
                return trial, suggestion
            score = self._ended.get(suggestion.fingerprint)
            if score is None:
                self._study.tell(trial, state=OptunaState.FAIL)
            else:
                self._study.tell(trial, score)
        return None
