"""One run of a sweep by its driver: parts are started, go through three stages, and are closed."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from droplora_sweep.analysis.pairing import is_behind
from droplora_sweep.analysis.progress import Action
from droplora_sweep.errors import InputError
from droplora_sweep.groups.client import TrialClient
from droplora_sweep.groups.manager import GroupManager
from droplora_sweep.groups.pool import HEAD_SHARE, start_pool
from droplora_sweep.records.layout import INCOMING
from droplora_sweep.records.trial import SweepOutcome
from droplora_sweep.search.history import search_history
from droplora_sweep.search.scheduler import Pins
from droplora_sweep.search.searcher import StudySearcher
from droplora_sweep.search.study import reconciled_study
from droplora_sweep.search.tune import run_search
from droplora_sweep.spec import DecideSpec
from droplora_sweep.spec.at_fidelity import at_search_fidelity
from droplora_sweep.spec.metric_names import MEAN, score_name, subject_of

from .canary import Canary
from .confirming import HELD_ADVICE, confirmation_of, wanted_on_test
from .control import Control
from .deciding import Grounds, arm_summaries, summary
from .ending import Ending, SweepResult
from .outside.metrics import Metrics
from .population import Population, has_copied
from .recorder import Recorder
from .references import References
from .runs import queue_of, take_over_runs, train_runs
from .spending import has_hours_left, spent
from .watch import ProgressFile, Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from ray.actor import ActorHandle

    from droplora_sweep.ledger.writer import LedgerWriter
    from droplora_sweep.plan.survey import Prepared

    from .confirming import Confirmation
    from .ending import Interruption
    from .runs import Identity
    from .watch import Progress


def drive(
    prepared: Prepared,
    ledger: LedgerWriter,
    identify: Identity,
    *,
    progress: Progress,
    interruption: Interruption,
    leave_report: Callable[[LedgerWriter], str | None],
    scratch: Path,
    folders: Sequence[Path],
) -> SweepResult:
    """Start groups, go through the stages, and bring ledger and MLflow to a final state.

    Args:
        prepared: The sweep, its task and its model.
        ledger: Keeps all that happens.
        identify: Names trials.
        progress: Shows the user what happens.
        interruption: Has the signal that came.
        leave_report: Writes the report of a complete sweep; returns a line where it cannot.
        scratch: Folder for the files of Ray Train and Ray Tune.
        folders: Folders on disks that may become full.
    """
    sweep = prepared.sweep
    pool_name = f"{sweep.name}-{ledger.holder.token}"
    pool = start_pool(pool_name, sweep.group)
    progress.start_from(ledger.record)
    ledger.subscribe(progress.event)
    # Groups that are to train the other model take it with their first trial of it.
    is_search = not ledger.record.confirm_trials
    first = at_search_fidelity(sweep) if is_search else sweep
    is_needed = has_work(ledger)
    canary = None
    if sweep.group.canary and is_needed:
        canary = Canary(
            prepared,
            is_search=is_search,
            pool=pool,
            folder=ledger.canary_location,
            say=progress.say,
        )
    ending = Ending(SweepOutcome.FAILED, "a bug or a broken machine, see the log")
    with (
        GroupManager(
            sweep=first,
            pool=pool,
            pool_name=pool_name,
            scratch=scratch,
            incoming=ledger.directory / INCOMING,
            say=progress.say,
            has_work=is_needed,
            compared=None if canary is None else canary.compared,
        ) as groups,
        ProgressFile(ledger.directory, progress) as live,
    ):
        run = Run(prepared, ledger, identify, groups=groups, pool=pool, progress=progress)
        # MLflow takes seconds to import, which the groups take to start.
        from droplora_sweep.mlflow_view.publisher import MlflowPublisher

        publisher = MlflowPublisher(
            ledger,
            sweep.tracking.mlflow_uri,
            lambda text: progress.say(f"MLflow: {text}"),
            arm_summaries,
        )
        watch = Watch(
            ledger=ledger,
            interruption=interruption,
            groups=groups,
            recorder=run.recorder,
            references=run.references,
            control=run.control,
            pool=pool,
            folders=folders,
            grace_s=sweep.group.grace_s,
            live=live,
            progress=progress,
            publisher=publisher,
            metrics=Metrics(sweep.name),
        )
        try:
            if canary is not None:
                canary.require(watch)
            run.search(watch, pool_name, scratch)
            if sweep.confirm is not None:
                run.confirm(watch)
                run.recorder.close()
                run.test(watch)
            run.recorder.close()
            # They end while the report is written.
            groups.close()
            ending = watch.ending or Ending(SweepOutcome.COMPLETE, run.ended_by)
        except InputError as error:
            ending = Ending(SweepOutcome.FAILED, str(error.faults[0]))
            groups.close()
            raise prepared.file.locate(error) from error
        finally:
            run.recorder.abandon()
            run.recorder.close()
            if ending.outcome is SweepOutcome.COMPLETE and (problem := leave_report(ledger)):
                progress.say(problem)
            try:
                ledger.sweep_finished(ending.outcome, reason=ending.reason, summary=summary(ledger))
            finally:
                published = publisher.close()
    return SweepResult(ledger, ending, published.error)


def has_work(ledger: LedgerWriter) -> bool:
    """Return False where a sweep's confirmation leaves nothing to train or to score.

    Its driver ended between the last result and the end. Groups that have not started when they
    are to end hold its process up, or end it before it has shown what was decided.
    """
    record = ledger.record
    unfinished = [trial for trial in record.search_trials if not trial.is_finished]
    if not record.confirm_trials or unfinished or record.queued_clones:
        return True
    found = confirmation_of(record, ledger, datetime.now(UTC))
    assert found is not None, "it has runs"
    decisions = Grounds(ledger).of_confirmation(found.progress.decisions)
    return bool(found.progress.missing or wanted_on_test(found, decisions, record))


class Run:
    """The parts of one run, and its stages, each of which ends early where it is told to stop.

    Args:
        prepared: The sweep, its task and its model.
        ledger: Keeps all that happens.
        identify: Names trials.
        groups: The groups.
        pool: Hands trials to groups.
        progress: Shows the user what happens.
    """

    def __init__(
        self,
        prepared: Prepared,
        ledger: LedgerWriter,
        identify: Identity,
        *,
        groups: GroupManager,
        pool: ActorHandle[Any],
        progress: Progress,
    ) -> None:
        sweep = self._sweep = prepared.sweep
        self._ledger = ledger
        self._identify = identify
        self._groups = groups
        self._pool = pool
        self._progress = progress
        self._population = Population(sweep, ledger, pool) if sweep.search.population else None
        self.recorder = Recorder(ledger, pool, self._population)
        self.references = References(ledger, pool, prepared.task, progress.say)
        learns_from_examples = isinstance(sweep.search.sampler, DecideSpec)
        self._history = search_history(
            ledger.record, sweep.search.metric, ledger.scores if learns_from_examples else None
        )
        self.searcher = StudySearcher(
            sweep=sweep,
            study=reconciled_study(ledger.study, self._history.trials, sweep),
            identify=identify,
            room=lambda: groups.num_groups,
            trials_folder=ledger.trials_location,
            known=self._history,
            budget_spent=lambda: spent(ledger.record, sweep.search, datetime.now(UTC)),
            has_copied=lambda trial_id: has_copied(ledger.record, trial_id),
        )
        self._pins = Pins(one.trial_id for one in ledger.records() if one.pinned_by is not None)
        self.control = Control(
            sweep, ledger, self.searcher, self._pins, pool, identify, self.recorder
        )
        self._held_by: str | None = None

    @property
    def ended_by(self) -> str | None:
        """The limit that ended the last stage before its end; None where none did."""
        return self._held_by or self.searcher.ended_by

    def search(self, should_stop: Callable[[], bool], pool_name: str, scratch: Path) -> None:
        """Draw and run trials until there are enough.

        A search is over once its best settings are being confirmed: only the unfinished run.

        Args:
            should_stop: Asked a few times a second.
            pool_name: The pool's name, for Ray Tune's clients.
            scratch: Folder for Ray Tune's files.
        """
        searched = at_search_fidelity(self._sweep).trial
        self.references.ask(searched, searched.evaluation.split)
        has_unfinished = bool(self._history.unfinished or self._history.clones)
        if self._ledger.record.confirm_trials and not has_unfinished:
            return
        if self._population is not None:
            self._population.resume()
        run_search(
            client=TrialClient,
            pool_name=pool_name,
            sweep=self._sweep,
            searcher=self.searcher,
            listener=self.recorder,
            known=[trial for trial in self._history.trials.values() if not trial.is_prior],
            pins=self._pins,
            client_resources=HEAD_SHARE,
            should_stop=should_stop,
            scratch=scratch,
            is_behind=partial(is_behind, subject=subject_of(self._sweep.search.metric)),
        )
        self.recorder.drain(should_stop)
        if self._population is not None and not should_stop():
            self._population.clear()
        if self.searcher.has_retried and not should_stop():
            history = search_history(self._ledger.record, self._sweep.search.metric)
            reconciled_study(self._ledger.study, history.trials, self._sweep)
        if self.searcher.ended_by is not None:
            self._progress.say(self.searcher.ended_by)
        self.references.wait(should_stop)

    def confirm(self, should_stop: Callable[[], bool]) -> None:
        """Train the runs of the confirmation, between interim analyses, until it is over."""
        while not should_stop():
            confirmation = self._confirmation()
            if not confirmation.progress.missing:
                self.control.is_confirmed = True
                self._say_end(confirmation)
                return
            arm = next(iter(confirmation.specs.values()))
            self.references.ask(arm, arm.evaluation.split)
            taken_over = take_over_runs(confirmation, self._ledger, self._identify)
            for line in taken_over:
                self._progress.say(line)
            if not taken_over:
                self._train(confirmation, should_stop)
            self.references.wait(should_stop)

    def test(self, should_stop: Callable[[], bool]) -> None:
        """Score the winners and p = 0 on the test split, once, now that all is decided."""
        if should_stop():
            return
        confirmation = self._confirmation()
        decisions = Grounds(self._ledger).of_confirmation(confirmation.progress.decisions)
        wanted = wanted_on_test(confirmation, decisions, self._ledger.record)
        if wanted:
            self.references.wait(should_stop)
            self.references.score_on_test(wanted, lambda: self._groups.num_groups, should_stop)

    def _confirmation(self) -> Confirmation:
        found = confirmation_of(self._ledger.record, self._ledger, datetime.now(UTC))
        assert found is not None, "the sweep has `confirm`"
        return found

    def _say_end(self, confirmation: Confirmation) -> None:
        if not confirmation.comparisons:
            self._progress.say("confirmation: nothing to confirm, no trial with p > 0 is complete")
        elif confirmation.held_by is not None:
            self._held_by = confirmation.held_by
            self._progress.say(f"confirmation: stop: {confirmation.held_by}; {HELD_ADVICE}")
        elif (action := confirmation.progress.step.action) is not Action.ADD_SEEDS:
            self._progress.say(f"confirmation: {action}")

    def _train(self, confirmation: Confirmation, should_stop: Callable[[], bool]) -> None:
        needed, missing = confirmation.progress.needed, confirmation.progress.missing
        seeds = dict.fromkeys(seed for _, seed in needed)
        self._progress.say(
            f"confirmation: {confirmation.num_arms} arms, seeds {', '.join(map(str, seeds))}: "
            f"{len(missing)} of {len(needed)} runs to go"
        )
        split = "confirmation" if confirmation.budget.new_examples else "validation"
        self._progress.begin(score_name(MEAN, split), len(needed), len(needed) - len(missing))
        train_runs(
            queue_of(confirmation, self._ledger, self._identify),
            self._pool,
            self.recorder,
            trials_folder=self._ledger.trials_location,
            capacity=lambda: self._groups.num_groups,
            may_start=self._has_hours_left,
            should_stop=should_stop,
        )

    def _has_hours_left(self) -> bool:
        limit = None if self._sweep.confirm is None else self._sweep.confirm.gpu_hours
        return limit is None or has_hours_left(self._ledger.record, limit, datetime.now(UTC))
