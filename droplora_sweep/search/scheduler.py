"""Early stopping: schedulers of Ray Tune, which spare baselines and pinned trials.

All decide at once and keep no group waiting: Tune's own Hyperband pauses trials until a bracket is
full, and cannot be filled with what was reported before a sweep was resumed.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, TrialScheduler

from droplora_sweep.records.messages import EVALUATION, Evaluated, message_of, submission_of
from droplora_sweep.spec import AshaSpec, FutilitySpec, HyperbandSpec, MedianSpec
from droplora_sweep.spec.metric_names import search_value

from .rules import Scored, below_median, bracket_of, is_futile

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ray.tune.execution.tune_controller import TuneController
    from ray.tune.experiment import Trial

    from droplora_sweep.spec import SweepSpec

    from .history import TrialHistory
    from .rules import IsBehind, Outcomes, Rule


BASELINE = "is_baseline"
"""In a trial's config: what the others are compared with, and so needs its full length."""

NUMBER = "number"
"""In a trial's config: its number in the study."""

_VALUE = "search_value"
"""In what Tune's ASHA is given: what the search maximises."""


def is_paired(sweep: SweepSpec) -> bool:
    """Return True where the stopping rule decides by each example's score."""
    return isinstance(sweep.search.stopping, FutilitySpec)


def make_scheduler(
    sweep: SweepSpec, known: Iterable[TrialHistory] = (), is_behind: IsBehind | None = None
) -> TrialScheduler:
    """Return Tune's scheduler for the sweep's stopping rule.

    Args:
        sweep: The sweep with its rule.
        known: Trials of before; decisions are taken as if they had reported here.
        is_behind: For the rule ``futility``, see ``is_futile``.
    """
    stopping = sweep.search.stopping
    scheduler: _Halving | _RuleScheduler
    if isinstance(stopping, AshaSpec | HyperbandSpec):
        scheduler = _Halving(sweep, stopping)
    elif isinstance(stopping, MedianSpec):
        rule: Rule = partial(below_median, min_trials=stopping.min_trials)
        scheduler = _RuleScheduler(sweep, rule, stopping.grace_evaluations)
    elif isinstance(stopping, FutilitySpec):
        assert is_behind is not None, "futility needs a comparison"
        rule = partial(is_futile, is_behind=is_behind)
        scheduler = _RuleScheduler(sweep, rule, stopping.grace_evaluations)
    else:
        return FIFOScheduler()
    for trial in known:
        scheduler.recall(trial)
    return scheduler


@dataclass(frozen=True)
class _Entry:
    """A trial as rungs know it: by the ledger's id, which outlives Tune's."""

    trial_id: str


class _Halving(FIFOScheduler):
    """ASHA, or Hyperband as brackets of ASHA with later and later first rungs.

    The rungs know trials by the ledger's ids, and the brackets by their numbers. So they can be
    filled with what was reported before a sweep was resumed, and a trial that is resumed is the one
    they know; the brackets that Ray's ASHA has itself are drawn at random. Rungs count the
    baselines' scores, and never stop a baseline.
    """

    def __init__(self, sweep: SweepSpec, options: AshaSpec | HyperbandSpec) -> None:
        super().__init__()
        self._search_metric = sweep.search.metric
        self._factor = options.reduction_factor
        self._brackets: list[AsyncHyperBandScheduler] = []
        num_evaluations = sweep.evaluation.num_evaluations
        grace = min(options.grace_evaluations, num_evaluations)
        while grace <= num_evaluations:
            bracket = AsyncHyperBandScheduler(
                EVALUATION,
                _VALUE,
                mode="max",
                grace_period=grace,
                reduction_factor=self._factor,
                # At the last evaluation itself ASHA would stop a trial that is complete.
                max_t=num_evaluations + 1,
            )
            self._brackets.append(bracket)
            if isinstance(options, AshaSpec):
                break
            grace *= self._factor

    def recall(self, trial: TrialHistory) -> None:
        """Put an earlier trial's score at each evaluation into the rungs."""
        bracket = self._bracket(trial.number)
        controller: Any = None
        entry: Any = _Entry(trial.name)
        bracket.on_trial_add(controller, entry)
        for evaluation, score in sorted(trial.decided_scores.items()):
            bracket.on_trial_result(controller, entry, {EVALUATION: evaluation, _VALUE: score})

    def on_trial_add(self, tune_controller: TuneController, trial: Trial) -> None:
        bracket, entry = self._place(trial)
        bracket.on_trial_add(tune_controller, entry)

    def on_trial_result(
        self, tune_controller: TuneController, trial: Trial, result: dict[str, Any]
    ) -> str:
        known = self._known(result)
        if known is None:
            return TrialScheduler.CONTINUE
        bracket, entry = self._place(trial)
        decision = bracket.on_trial_result(tune_controller, entry, known)
        return TrialScheduler.CONTINUE if trial.config[BASELINE] else str(decision)

    def on_trial_complete(
        self, tune_controller: TuneController, trial: Trial, result: dict[str, Any]
    ) -> None:
        bracket, entry = self._place(trial)
        bracket.on_trial_complete(tune_controller, entry, self._known(result) or {})

    def on_trial_remove(self, tune_controller: TuneController, trial: Trial) -> None:
        bracket, entry = self._place(trial)
        bracket.on_trial_remove(tune_controller, entry)

    def _known(self, result: Mapping[str, Any]) -> dict[str, float] | None:
        """Return what rungs know of a result; None of one that gives them nothing to compare."""
        message = message_of(result)
        if not isinstance(message, Evaluated):
            return None
        value = search_value(self._search_metric, message.evaluation.metrics)
        # In a rung, one infinity would stop all others.
        known = {EVALUATION: message.evaluation.number, _VALUE: value}
        return known if math.isfinite(value) else None

    def _place(self, trial: Trial) -> tuple[AsyncHyperBandScheduler, Any]:
        """Return a trial's bracket and its entry there: ASHA reads no more of it than its id."""
        entry = _Entry(submission_of(trial.config).trial_id)
        return self._bracket(trial.config[NUMBER]), entry

    def _bracket(self, number: int) -> AsyncHyperBandScheduler:
        return self._brackets[bracket_of(number, len(self._brackets), self._factor)]


class _RuleScheduler(FIFOScheduler):
    """Stops by a pure rule over every trial's evaluations, those of earlier drivers included."""

    def __init__(self, sweep: SweepSpec, rule: Rule, grace_evaluations: int) -> None:
        super().__init__()
        self._search_metric = sweep.search.metric
        self._num_evaluations = sweep.evaluation.num_evaluations
        self._rule = rule
        self._grace_evaluations = grace_evaluations
        self._histories: defaultdict[str, dict[int, Scored]] = defaultdict(dict)

    def recall(self, trial: TrialHistory) -> None:
        """Know an earlier trial's evaluations."""
        for evaluation, score in trial.decided_scores.items():
            outcomes: Outcomes = trial.outcomes.get(evaluation, {})
            self._histories[trial.name][evaluation] = Scored(score, outcomes)

    def on_trial_result(
        self, tune_controller: TuneController, trial: Trial, result: Mapping[str, Any]
    ) -> str:
        message = message_of(result)
        if not isinstance(message, Evaluated):
            return TrialScheduler.CONTINUE
        evaluation, name = message.evaluation, submission_of(trial.config).trial_id
        score = search_value(self._search_metric, evaluation.metrics)
        if not math.isfinite(score):
            return TrialScheduler.CONTINUE
        self._histories[name][evaluation.number] = Scored(score, evaluation.outcomes)
        may_stop = self._grace_evaluations <= evaluation.number < self._num_evaluations
        if not may_stop or trial.config[BASELINE]:
            return TrialScheduler.CONTINUE
        is_stopped = self._rule(self._histories, name, evaluation.number)
        return TrialScheduler.STOP if is_stopped else TrialScheduler.CONTINUE


class Pins:
    """The pinned trials; the scheduler reads it off each trial, as it does for baselines.

    Args:
        pinned: Ids, as the ledger has them, of trials that were pinned before.
    """

    def __init__(self, pinned: Iterable[str] = ()) -> None:
        self._pinned = set(pinned)
        self._live: dict[str, Trial] = {}

    def add(self, trial_id: str) -> None:
        """Pin a trial, running or not."""
        self._pinned.add(trial_id)
        if trial_id in self._live:
            self._live[trial_id].config[BASELINE] = True

    def started(self, trial: Trial) -> None:
        """Tune has started a trial."""
        trial_id = submission_of(trial.config).trial_id
        self._live[trial_id] = trial
        if trial_id in self._pinned:
            trial.config[BASELINE] = True

    def ended(self, trial: Trial) -> None:
        """Tune has ended a trial."""
        self._live.pop(submission_of(trial.config).trial_id, None)
