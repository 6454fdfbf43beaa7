"""The stages of a run: search, confirm, test."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol

from droplora_sweep.analysis.pairing import is_behind
from droplora_sweep.analysis.progress import Action
from droplora_sweep.groups.client import TrialClient
from droplora_sweep.groups.pool import HEAD_SHARE
from droplora_sweep.search.tune import QueueSearcher, run_search
from droplora_sweep.spec import NoStoppingSpec, SearchSpec
from droplora_sweep.spec.metric_names import MEAN, score_name, subject_of

from .confirming import confirmation_of, wanted_on_test
from .deciding import Grounds
from .references import score_on_test
from .runs import queue_of, take_over_runs

if TYPE_CHECKING:
    from pathlib import Path

    from droplora_sweep.groups.manager import GroupManager
    from droplora_sweep.ledger.writer import LedgerWriter
    from droplora_sweep.search.history import SearchHistory, UnfinishedTrial
    from droplora_sweep.search.rules import IsBehind
    from droplora_sweep.search.scheduler import Pins
    from droplora_sweep.search.searcher import StudySearcher
    from droplora_sweep.spec import SweepSpec

    from .confirming import Confirmation
    from .population import Population
    from .recorder import Recorder
    from .references import References
    from .runs import Identity
    from .watch import Watch


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
        pool_name: Where trials and groups meet.
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
    pool_name: str
    groups: GroupManager
    recorder: Recorder
    watch: Watch
    scratch: Path
    progress: Teller
    references: References
    population: Population | None = None

    @property
    def _is_behind(self) -> IsBehind:
        return partial(is_behind, subject=subject_of(self.sweep.search.metric))

    @property
    def is_stopped(self) -> bool:
        return self.watch.reason is not None

    def search(self, searcher: StudySearcher, known: SearchHistory, pins: Pins) -> None:
        """Draw and run trials until there are enough, or it is told to stop.

        A search whose finalists are being confirmed is over: only what was left running goes on.

        Args:
            searcher: Draws the trials.
            known: What it starts from.
            pins: Trials that the scheduler must not stop.
        """
        self.references.ask(self.sweep.trial)
        if self.ledger.record.confirm_trials and not known.open and not known.clones:
            return
        if self.population is not None:
            self.population.take_up()
        run_search(
            TrialClient,
            self.pool_name,
            self.sweep,
            searcher,
            self.recorder,
            trials_folder=self.ledger.trials_location,
            known=[trial for trial in known.trials.values() if not trial.is_prior],
            pins=pins,
            client_resources=HEAD_SHARE,
            should_stop=self.watch,
            scratch=self.scratch,
            is_behind=self._is_behind,
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
                self._run(queue_of(confirmation, self.ledger, self.identify), confirmation)
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
        if not confirmation.questions:
            self.progress.say("confirmation: nothing to confirm, no trial with p > 0 is complete")
            return None
        if confirmation.progress.missing:
            return confirmation
        step = confirmation.progress.step
        if step.action is not Action.ADD_SEEDS:
            self.progress.say(f"confirmation: {step.action}")
        return None

    def _run(self, queue: list[UnfinishedTrial], confirmation: Confirmation) -> None:
        confirm = self.sweep.confirm
        assert confirm is not None, "the sweep has `confirm`"
        needed, missing = confirmation.progress.needed, confirmation.progress.missing
        seeds = dict.fromkeys(seed for _, seed in needed)
        split = "confirmation" if confirm.examples == "new" else "validation"
        self.progress.say(
            f"confirmation: {confirmation.num_arms} arms, seeds {', '.join(map(str, seeds))}: "
            f"{len(missing)} of {len(needed)} runs to go"
        )
        metric = score_name(MEAN, split)
        self.progress.begin(metric, len(needed), len(needed) - len(missing))
        # Its runs are drawn by nobody and stopped by nobody.
        search = SearchSpec(num_trials=len(queue), stopping=NoStoppingSpec())
        name = f"{self.sweep.name}-confirm-{len(needed)}"
        run_search(
            TrialClient,
            self.pool_name,
            self.sweep.model_copy(update={"search": search, "name": name}),
            QueueSearcher(queue, lambda: self.groups.num_groups, metric=metric),
            self.recorder,
            trials_folder=self.ledger.trials_location,
            client_resources=HEAD_SHARE,
            should_stop=self.watch,
            scratch=self.scratch,
            is_behind=self._is_behind,
        )
        self.recorder.drain(self.watch)
