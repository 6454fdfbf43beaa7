"""Ray Tune's searcher over an Optuna study that outlives it.

Ray's own ``OptunaSearch`` tells a trial stopped early as complete, leaves one that ended in NaN
running for ever, and cannot run a trial only once; this one keeps Optuna's states true.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
from optuna.trial import TrialState as OptunaState
from ray.tune.search import Searcher
from scipy.stats import qmc

from droplora_sweep import private_api
from droplora_sweep.records.messages import SUBMISSION, Evaluated, Submission, message_of
from droplora_sweep.spec import (
    DecideSpec,
    GridSpec,
    OptunaSamplerSpec,
    QuasiRandomSpec,
    active_order,
    all_settings,
    baselines,
    is_active,
    resolve,
    trial_limit,
)
from droplora_sweep.spec.metric_names import MEAN, is_likelihood, subject_of
from droplora_sweep.storage.object_store import below

from .decide import next_setting
from .history import SearchHistory
from .proposal import distribution, suggest
from .sampler_class import EndingSampler, build_sampler, sampler_errors_named
from .samplers import draw_seed, make_sampler
from .scheduler import BASELINE, NUMBER
from .seen import SeenTrials
from .study import StudyReporter
from .variants import VariantBudgets, propose

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from droplora_sweep.records.trial import Evaluation, PlannedTrial, TrialRecord
    from droplora_sweep.spec import Scalar, SweepSpec, TrialSpec


def grid_points(sweep: SweepSpec, seed: int) -> Iterator[dict[str, Scalar]]:
    """Raw values of every point once, shuffled: of a part of them too, none is far from all."""
    points = list(all_settings(sweep))
    for index in np.random.default_rng(seed).permutation(len(points)):
        yield points[index]


def quasi_random_point(
    sweep: SweepSpec, sampler: QuasiRandomSpec, index: int, seed: int
) -> dict[str, Scalar]:
    """Raw values of one point of the scrambled Sobol or Halton sequence (scipy.stats.qmc).

    Each parameter has a coordinate of its own, also where it is not active.

    Args:
        sweep: The space.
        sampler: Kind of sequence.
        index: 0-based position in it.
        seed: Scrambles it; every index of one sequence needs the same.
    """
    order = active_order(sweep)
    if not order:
        return {}
    kind = qmc.Sobol if sampler.sequence == "sobol" else qmc.Halton
    sequence = kind(len(order), scramble=True, rng=seed)
    if index:
        sequence.fast_forward(index)
    values: dict[str, Scalar] = {}
    for path, position in zip(order, sequence.random(1)[0], strict=True):
        if is_active(path, values, sweep):
            values[path] = sweep.search.parameters[path].at(float(position))
    return values


QUEUED = "queued"
"""User attribute of a trial that waits in the study: which of the first ones it is."""

MAX_REPEATS = 50
"""Draws of trials that were run before, in a row, until the space counts as exhausted."""


class StudySearcher(Searcher):
    """Draws trials from an Optuna study and tells it how each ended.

    Args:
        sweep: The space, the number of trials and the metric, which is maximised.
        study: The study, as the ledger has it; baselines it lacks are queued in it first.
        identify: Trial id and fingerprint of a numbered trial; a fingerprint that was drawn
            before is not run again, and its first result is reported instead.
        room: Returns how many trials may run now; the cluster can grow and shrink.
        trials_folder: Folder or URL that each trial's folder is in.
        known: The trials of earlier drivers; unfinished ones are resumed before any is drawn.
        budget_spent: Returns what is spent, once something is: no trial is drawn any more then.
        has_copied: Returns True for a member of a population that has copied another: its score is
            not that of what was drawn, and is not reported to the study.

    Attributes:
        ended_by: The budget that was spent; None while none is.
        is_over: True where the search has ended: it hands out no more trials.
    """

    def __init__(
        self,
        *,
        sweep: SweepSpec,
        study: optuna.Study,
        identify: Callable[[int, TrialSpec], tuple[str, str]],
        room: Callable[[], int],
        trials_folder: str,
        known: SearchHistory | None = None,
        budget_spent: Callable[[], str | None] = lambda: None,
        has_copied: Callable[[str], bool] = lambda trial_id: False,
    ) -> None:
        super().__init__(metric=sweep.search.metric, mode="max")
        self._sweep = sweep
        self._study = study
        self._identify = identify
        self._room = room
        self._trials_folder = trials_folder
        self._budget_spent = budget_spent
        self._has_copied = has_copied
        self.ended_by: str | None = None
        self._live: dict[str, tuple[optuna.trial.Trial, PlannedTrial]] = {}
        known = known or SearchHistory()
        self._reporter = StudyReporter(study, sweep, known.trials)
        self._seen = SeenTrials(sweep.search.metric, known.trials)
        self._unfinished = deque(known.unfinished)
        self._ended = dict(known.ended)
        self._clones = deque(known.clones)
        self._retried: dict[int, int] = {}
        # Clones come on top of the planned trials.
        self._num_suggested = len(known.ended.keys() - known.cloned)
        self._is_abandoned = False
        self._is_exhausted = False
        self.is_over = False
        self._baselines: list[TrialSpec] = []
        self._limit = trial_limit(sweep)
        self._grid = (
            grid_points(sweep, sweep.seed) if isinstance(sweep.search.sampler, GridSpec) else None
        )
        self._class_sampler: EndingSampler | None = None
        if isinstance(options := sweep.search.sampler, OptunaSamplerSpec):
            seed = draw_seed(sweep.seed, self._num_drawn)
            self._class_sampler = build_sampler(options, seed)
            study.sampler = self._class_sampler
        planned = [spec for spec in known.specs if identify(0, spec)[1] not in known.cloned]
        self._budgets = VariantBudgets(sweep, planned) if sweep.search.compare else None
        if sweep.search.queue_baselines:
            self._baselines = [resolve(values, sweep) for values in baselines(sweep)]
        self._queue(known)

    def set_search_properties(self, *args: Any, **kwargs: Any) -> bool:
        """Tune offers metric, mode and space; all three are the sweep's."""
        return True

    def suggest(self, trial_id: str) -> Any:
        """Return the next trial's config; None while there is no room, FINISHED at the end."""
        is_full = self._is_exhausted or (
            self._limit is not None and self._num_suggested >= self._limit
        )
        if is_full and not self._unfinished and not self._clones:
            # While trials run, a user may still clone one.
            return None if self._live else self._finished()
        if len(self._live) >= self._room():
            return None
        if not self._unfinished and not self._clones:
            self.ended_by = self.ended_by or self._budget_spent()
            if self.ended_by is not None:
                return None if self._live else self._finished()
        last: Evaluation | None = None
        planned: PlannedTrial
        if self._unfinished:
            planned = record = self._unfinished.popleft()
            last = record.evaluations[-1] if record.evaluations else None
            number = self._retried.get(planned.number, planned.number)
            trial = private_api.running_trial(self._study, number)
        elif self._clones:
            planned = self._clones.popleft()
            trial = private_api.running_trial(self._study, planned.number)
        elif (new := self._draw_new()) is not None:
            trial, planned = new
        else:
            self._is_exhausted = True
            return None if self._live else self._finished()
        self._live[trial_id] = trial, planned
        self._num_suggested += planned.clone_of is None
        return {
            SUBMISSION: Submission(
                trial_id=planned.trial_id,
                spec=planned.spec_to_run.model_dump_json(),
                folder=below(self._trials_folder, planned.trial_id),
                last=last,
                is_member=self._sweep.search.population is not None and planned.clone_of is None,
            ),
            BASELINE: planned.trial_spec in self._baselines,
            NUMBER: planned.number,
        }

    def _finished(self) -> str:
        """No more trials are handed out."""
        self.is_over = True
        return str(Searcher.FINISHED)

    def planned(self, trial_id: str) -> PlannedTrial:
        """Return what a running Tune trial trains."""
        return self._live[trial_id][1]

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Tell the study an intermediate score, which TPE uses for trials stopped early."""
        (trial, planned), message = self._live[trial_id], message_of(result)
        self._reporter.report(trial, message)
        if isinstance(message, Evaluated):
            self._seen.report(planned.number, message.evaluation)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Tell the study how the trial ended: complete, pruned or failed."""
        if self._is_abandoned:
            return
        trial, planned = self._live.pop(trial_id)
        is_foreign = planned.clone_of is not None and not planned.drawn
        is_foreign = is_foreign or self._has_copied(planned.trial_id)
        last = None if error or is_foreign or result is None else message_of(result)
        self._ended[planned.fingerprint] = self._reporter.end(trial, last)
        if not is_foreign:
            self._seen.end(planned, last)

    def reserve(self, drawn: Mapping[str, Scalar]) -> int:
        """Reserve the number, in the study, of a trial that a user makes.

        Args:
            drawn: As the study would have drawn it; empty where it could not have, or is to learn
                nothing from it.
        """
        parameters = self._sweep.search.parameters
        domains = {path: distribution(parameters[path]) for path in drawn}
        self._study.add_trial(
            optuna.trial.create_trial(
                state=OptunaState.RUNNING, params=dict(drawn), distributions=domains
            )
        )
        return self._study.get_trials(deepcopy=False)[-1].number

    def queue(self, clone: PlannedTrial) -> None:
        """Run a trial that a user made as soon as there is room, before others are drawn."""
        self._clones.append(clone)

    def retry(self, trial: TrialRecord) -> None:
        """Run a trial that has failed once more, before others are drawn.

        A study takes no trial's end back, so that the sampler hears of the new one under another
        number; `reconciled_study` gives the trial its own again.
        """
        self._ended.pop(trial.fingerprint, None)
        self._num_suggested -= trial.clone_of is None
        self._retried[trial.number] = self.reserve(trial.drawn)
        self._unfinished.append(trial)

    @property
    def has_retried(self) -> bool:
        """True where the study has another number than the ledger of some trial."""
        return bool(self._retried)

    def is_known(self, fingerprint: str) -> bool:
        """Return True where the trial was run, is running or is queued."""
        running = {planned.fingerprint for _, planned in self._live.values()}
        waiting = {each.fingerprint for each in self._clones}
        waiting |= {each.fingerprint for each in self._unfinished}
        return fingerprint in running | waiting | self._ended.keys()

    def abandon(self) -> None:
        """The sweep is cut short: trials that Tune ends from here on are resumed later."""
        self._is_abandoned = True

    def _queue(self, known: SearchHistory) -> None:
        """Baselines and starting points that neither were run nor wait in the study."""
        waiting = self._study.get_trials(deepcopy=False, states=(OptunaState.WAITING,))
        queued = {trial.user_attrs.get(QUEUED) for trial in waiting}
        first = baselines(self._sweep) if self._sweep.search.queue_baselines else ()
        for index, values in enumerate((*first, *known.points)):
            if index not in queued and resolve(dict(values), self._sweep) not in known.specs:
                self._study.enqueue_trial(dict(values), user_attrs={QUEUED: index})

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles what it is given, for a restore that never happens here."""
        return {}

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: the study is durable, and resuming never reads Tune's snapshot."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore, see `save`."""

    def _draw_new(self) -> tuple[optuna.trial.Trial, PlannedTrial] | None:
        if self._budgets is None:
            return self._draw_unknown(None)
        while (variant := self._budgets.next()) is not None:
            drawn = self._draw_unknown(variant)
            if drawn is not None:
                self._budgets.take(drawn[1].trial_spec)
                return drawn
            self._budgets.exhaust(variant)
        return None

    def _draw_unknown(
        self, variant: dict[str, Scalar] | None
    ) -> tuple[optuna.trial.Trial, PlannedTrial] | None:
        """A trial that was not run before, of this variant unless one is queued."""
        for _ in range(MAX_REPEATS):
            with sampler_errors_named(self._sweep.search.sampler):
                trial = self._ask(variant)
                if trial is None:
                    return None
                planned = suggest(trial, self._sweep, self._identify)
            if not self.is_known(planned.fingerprint):
                return trial, planned
            self._reporter.again(trial, self._ended.get(planned.fingerprint))
        return None

    @property
    def _num_drawn(self) -> int:
        """Trials of the study that do not wait in it."""
        trials = self._study.get_trials(deepcopy=False)
        return sum(trial.state is not OptunaState.WAITING for trial in trials)

    def _ask(self, variant: dict[str, Scalar] | None) -> optuna.trial.Trial | None:
        """The study's next trial, a queued one first; None where the sampler has no more."""
        num_drawn = self._num_drawn
        is_any_queued = num_drawn < len(self._study.get_trials(deepcopy=False))
        if self._class_sampler is None:
            self._study.sampler = make_sampler(self._sweep, num_drawn)
        sampler = self._sweep.search.sampler
        if not is_any_queued:
            if self._class_sampler is not None and self._class_sampler.is_over:
                return None
            if variant is not None:
                self._study.enqueue_trial(propose(self._study, self._sweep, variant, num_drawn))
            elif self._grid is not None:
                point = self._next_of_grid()
                if point is None:
                    return None
                self._study.enqueue_trial(point)
            elif isinstance(sampler, DecideSpec):
                point = self._next_to_decide(sampler, num_drawn)
                if point is None:
                    return None
                self._study.enqueue_trial(point)
            elif isinstance(sampler, QuasiRandomSpec):
                seed = self._sweep.seed
                self._study.enqueue_trial(quasi_random_point(self._sweep, sampler, num_drawn, seed))
        return self._study.ask()

    def _next_of_grid(self) -> dict[str, Scalar] | None:
        assert self._grid is not None
        for point in self._grid:
            _, fingerprint = self._identify(0, resolve(point, self._sweep))
            if not self.is_known(fingerprint):
                return point
        return None

    def _next_to_decide(self, sampler: DecideSpec, num_drawn: int) -> dict[str, Scalar] | None:
        sweep, metric = self._sweep, self._sweep.search.metric
        parts = sweep.task.benchmarks if subject_of(metric) == MEAN else (subject_of(metric),)
        waiting = (*(planned for _, planned in self._live.values()), *self._unfinished)
        under_way = sorted((*waiting, *self._clones), key=lambda planned: planned.number)
        return next_setting(
            sweep,
            self._seen.state(planned.drawn for planned in under_way if planned.drawn),
            sampler=sampler,
            num_drawn=num_drawn,
            # Right and wrong answers say nothing of the noise of a likelihood.
            parts=() if is_likelihood(metric) else tuple(parts),
            is_known=lambda point: self.is_known(self._identify(0, resolve(point, sweep))[1]),
        )
