"""The stages of a run: search, confirm, test."""

from __future__ import annotations

import contextlib
from collections import deque
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from droplora_sweep.analysis.pairing import is_behind
from droplora_sweep.analysis.progress import Action
from droplora_sweep.errors import PoolLostError
from droplora_sweep.groups.client import TrialClient
from droplora_sweep.groups.pool import HEAD_SHARE, ask
from droplora_sweep.records.messages import Evaluated, Failed, Submission
from droplora_sweep.records.trial import TrialRecord, TrialState
from droplora_sweep.search.tune import run_search
from droplora_sweep.spec.metric_names import MEAN, score_name, subject_of
from droplora_sweep.storage.object_store import below

from .confirming import confirmation_of, wanted_on_test
from .deciding import Grounds
from .references import score_on_test
from .runs import queue_of, take_over_runs

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from ray.actor import ActorHandle

    from droplora_sweep.groups.manager import GroupManager
    from droplora_sweep.ledger.writer import LedgerWriter
    from droplora_sweep.records.messages import Message
    from droplora_sweep.records.trial import PlannedTrial
    from droplora_sweep.search.history import SearchHistory
    from droplora_sweep.search.scheduler import Pins
    from droplora_sweep.search.searcher import StudySearcher
    from droplora_sweep.spec import SweepSpec

    from .confirming import Confirmation
    from .population import Population
    from .recorder import Recorder
    from .references import References
    from .runs import Identity
    from .watch import Watch

RECEIVE_S = 0.5
"""Time that a wait for a confirmation run's score takes at most, before the watch looks around."""


class Teller(Protocol):
    """Shows the user what happens."""

    def say(self, text: str) -> None:
        """One line that stays."""

    def begin(self, metric: str, num_trials: int, num_done: int) -> None:
        """A stage begins, with trials of its own, some of them done before."""


@dataclass
class Stages:
    """What the stages of one run share.

    Attributes:
        sweep: What is run.
        ledger: Where everything is recorded.
        identify: Names trials.
        pool: Where trials and groups meet.
        pool_name: The pool's name, for Ray Tune's clients.
        groups: The groups.
        recorder: Writes what happens into the ledger.
        watch: Whether to stop.
        scratch: Folder for Ray Tune's files.
        progress: Shows the user what happens.
        references: Has the untrained model scored.
        population: Decides what members of a population copy; None where trials are independent.
    """

    sweep: SweepSpec
    ledger: LedgerWriter
    identify: Identity
    pool: ActorHandle[Any]
    pool_name: str
    groups: GroupManager
    recorder: Recorder
    watch: Watch
    scratch: Path
    progress: Teller
    references: References
    population: Population | None = None

    @property
    def is_stopped(self) -> bool:
        return self.watch.reason is not None

    def search(self, searcher: StudySearcher, known: SearchHistory, pins: Pins) -> None:
        """Draw and run trials until there are enough, or it is told to stop.

        A search whose best settings are being confirmed is over: only what was left running is
        resumed.

        Args:
            searcher: Draws the trials.
            known: What it starts from.
            pins: Trials that the scheduler must not stop.
        """
        self.references.ask(self.sweep.trial)
        if self.ledger.record.confirm_trials and not known.unfinished and not known.clones:
            return
        if self.population is not None:
            self.population.take_up()
        run_search(
            client=TrialClient,
            pool_name=self.pool_name,
            sweep=self.sweep,
            searcher=searcher,
            listener=self.recorder,
            known=[trial for trial in known.trials.values() if not trial.is_prior],
            pins=pins,
            client_resources=HEAD_SHARE,
            should_stop=self.watch,
            scratch=self.scratch,
            is_behind=partial(is_behind, subject=subject_of(self.sweep.search.metric)),
        )
        self.recorder.drain(self.watch)
        if self.population is not None and not self.is_stopped:
            self.population.clear()
        if searcher.ended_by is not None:
            self.progress.say(searcher.ended_by)
        self.references.wait(self.watch)

    def confirm(self) -> None:
        """Train what the confirmation still needs, look by look, until it is decided."""
        if self.is_stopped or self.sweep.confirm is None:
            return
        while (confirmation := self._look()) is not None:
            self.references.ask(next(iter(confirmation.specs.values())))
            taken = take_over_runs(confirmation, self.ledger, self.identify)
            for line in taken:
                self.progress.say(line)
            if not taken:
                self._announce(confirmation)
                self._train(queue_of(confirmation, self.ledger, self.identify))
            self.references.wait(self.watch)
            if self.is_stopped:
                return

    def test(self) -> None:
        """Score the winners and p = 0 on the test split, once, now that all is decided."""
        if self.is_stopped or self.sweep.confirm is None:
            return
        record = self.ledger.record
        confirmation = confirmation_of(record, self.ledger.scores)
        assert confirmation is not None, "the sweep has `confirm`"
        decisions = Grounds(self.ledger).of_confirmation(confirmation.progress.decisions)
        wanted = wanted_on_test(confirmation, decisions, record)
        if wanted:
            self.references.wait(self.watch)
            self.groups.end()
            score_on_test(
                self.ledger,
                wanted,
                self.references,
                self.sweep.group,
                self.watch,
                self.progress.say,
            )

    def _look(self) -> Confirmation | None:
        """The confirmation where runs are missing; None, said why, where it is over."""
        confirmation = confirmation_of(self.ledger.record, self.ledger.scores)
        assert confirmation is not None, "the sweep has `confirm`"
        if not confirmation.comparisons:
            self.progress.say("confirmation: nothing to confirm, no trial with p > 0 is complete")
            return None
        if confirmation.progress.missing:
            return confirmation
        step = confirmation.progress.step
        if step.action is not Action.ADD_SEEDS:
            self.progress.say(f"confirmation: {step.action}")
        return None

    def _announce(self, confirmation: Confirmation) -> None:
        needed, missing = confirmation.progress.needed, confirmation.progress.missing
        seeds = dict.fromkeys(seed for _, seed in needed)
        self.progress.say(
            f"confirmation: {confirmation.num_arms} arms, seeds {', '.join(map(str, seeds))}: "
            f"{len(missing)} of {len(needed)} runs to go"
        )
        split = "confirmation" if confirmation.budget.new_examples else "validation"
        self.progress.begin(score_name(MEAN, split), len(needed), len(needed) - len(missing))

    def _train(self, runs: Iterable[PlannedTrial]) -> None:
        """Train confirmation runs to their ends, one on each group, until it is told to stop."""
        waiting, training = deque(runs), set[str]()
        while (waiting or training) and not self.watch():
            # That the pool has died is found out, and said, by the watch.
            with contextlib.suppress(PoolLostError):
                while waiting and len(training) < self.groups.num_groups:
                    run = waiting.popleft()
                    self._start(run)
                    training.add(run.trial_id)
                if received := ask(self.pool, "receive_any", training, RECEIVE_S):
                    trial_id, message = received
                    training.remove(trial_id)
                    self._end(trial_id, message)
        self.recorder.drain(self.watch)

    def _start(self, run: PlannedTrial) -> None:
        """Hand a run to the groups.

        A run has one evaluation, at its end. An earlier driver may have had it, and lacks what the
        run leaves.
        """
        last = None
        if isinstance(run, TrialRecord) and run.evaluations:
            last = run.evaluations[-1]
        submission = Submission(
            trial_id=run.trial_id,
            spec=run.spec_to_run.model_dump_json(),
            folder=below(self.ledger.trials_location, run.trial_id),
            last=last,
        )
        ask(self.pool, "submit", submission)
        self.recorder.started(run)

    def _end(self, trial_id: str, message: Message) -> None:
        if isinstance(message, Failed):
            self.recorder.ended(trial_id, TrialState.FAILED, message.reason)
            return
        assert isinstance(message, Evaluated), "a user stops search trials alone"
        if not message.is_repeated:
            self.recorder.reported(trial_id, replace(message.evaluation, outcomes={}))
        self.recorder.ended(trial_id, TrialState.COMPLETE, None)
