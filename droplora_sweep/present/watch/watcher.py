"""A sweep as it is now, for any number of readers: its ledger, and the answer that it amounts to.

The ledger is looked at when a reader asks, a few times a minute at most. Working out an answer
takes seconds: a thread does that, while readers are shown the last one.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from droplora_sweep.analysis.winners import adapters_text
from droplora_sweep.errors import SweepError
from droplora_sweep.present.contents.answers import answers
from droplora_sweep.present.contents.facts import facts_of
from droplora_sweep.present.contents.headline import headline, next_step
from droplora_sweep.present.contents.rates import rate_panels
from droplora_sweep.present.contents.results import answers_table, result_tables
from droplora_sweep.present.terminal.status import stage_of
from droplora_sweep.records.events import EventKind
from droplora_sweep.redaction import redact

from .charts import rate_charts

if TYPE_CHECKING:
    from collections.abc import Iterable

    from droplora_sweep.ledger.following import Follower, Look
    from droplora_sweep.ledger.reader import Ledger
    from droplora_sweep.present.contents.headline import Headline, NextStep
    from droplora_sweep.present.contents.table import Table
    from droplora_sweep.records.events import Event

    from .charts import Chart


@dataclass(frozen=True, kw_only=True)
class Answered:
    """The answer of a sweep as of one look.

    Attributes:
        headline: It in a sentence, how sure it is, and why.
        table: It for each benchmark.
        words: What `best` says of it, a line each.
        tables: What `best` shows of it.
        next_step: The command to run next.
        notes: Lines on the rates that are not decided.
        stage: Stage of a sweep with a confirmation; None of one without.
        charts: Score against pruning rate, the mean first.
    """

    headline: Headline
    table: Table
    words: tuple[str, ...]
    tables: tuple[Table, ...]
    next_step: NextStep
    notes: tuple[str, ...]
    stage: str | None
    charts: tuple[Chart, ...]


def answer_of(ledger: Ledger) -> Answered:
    """Work out the answer of a sweep in any state.

    Raises:
        SweepError: Results cannot be read.
    """
    facts = facts_of(ledger, explores=False)
    found = answers(facts)
    words = [facts.undecided]
    if facts.decisions:
        words = [*facts.conclusion.splitlines(), adapters_text(facts.winners)]
    return Answered(
        headline=headline(found),
        table=answers_table(found),
        words=tuple(filter(None, words)),
        tables=tuple(result_tables(facts)) if facts.decisions else (),
        next_step=next_step(facts, found),
        notes=facts.notes,
        stage=stage_of(ledger),
        charts=rate_charts(rate_panels(facts)),
    )


UNMOVED = frozenset(
    (
        EventKind.TRIAL_REPORTED,
        EventKind.TRIAL_ADJUSTED,
        EventKind.TRIAL_EXPLOITED,
        EventKind.TRIAL_STOP_ASKED,
        EventKind.TRIAL_PINNED,
        EventKind.TRIAL_CLONED,
    )
)
"""Events that no answer depends on: it rests on trials that have ended."""


def moves_answer(events: Iterable[Event]) -> bool:
    """Return True where an answer may be another one after these events."""
    return any(
        event.kind not in UNMOVED
        and not (event.kind is EventKind.TRIAL_STARTED and event.payload.get("arm") is None)
        for event in events
    )


@dataclass(frozen=True, kw_only=True)
class Moment:
    """A sweep at one moment.

    Attributes:
        look: Its ledger and its driver.
        problem: Why the look is not of this moment; None where it is.
        answer: The last answer; None before the first.
        is_answer_late: True while a later one is worked out.
        answer_problem: Why there is no answer; None where there is nothing wrong.
    """

    look: Look
    problem: str | None
    answer: Answered | None
    is_answer_late: bool
    answer_problem: str | None


class Watcher:
    """Looks at a sweep for those who ask; may be used by several threads.

    Args:
        follower: The sweep's.
    """

    def __init__(self, follower: Follower) -> None:
        self._follower = follower
        self._lock = threading.Lock()
        self._look = follower.look()
        self._next_look = time.monotonic() + self._follower.poll_s / 2
        self._problem: str | None = None
        self._answer: Answered | None = None
        self._answer_problem: str | None = None
        self._is_due, self._is_at_work = True, False

    @property
    def name(self) -> str:
        """The sweep's."""
        return self._follower.name

    @property
    def poll_s(self) -> float:
        """Seconds after which asking again is worth it."""
        return self._follower.poll_s

    def now(self, *, at_once: bool = False) -> Moment:
        """Return the sweep as of now, or of a moment ago.

        Args:
            at_once: True to look again, however short ago the last look was.
        """
        with self._lock:
            if at_once or time.monotonic() >= self._next_look:
                self._look_again()
            if self._is_due and not self._is_at_work:
                self._is_due, self._is_at_work = False, True
                worker = threading.Thread(target=self._work, args=(self._look.ledger,), daemon=True)
                worker.start()
            return Moment(
                look=self._look,
                problem=self._problem,
                answer=self._answer,
                is_answer_late=self._is_at_work or self._is_due,
                answer_problem=self._answer_problem,
            )

    def _look_again(self) -> None:
        try:
            look = self._follower.look()
        except SweepError as error:
            self._problem = redact(str(error))
        else:
            was_held = self._look.holder is not None
            self._look, self._problem = look, None
            # The command to run next depends on whether a driver works on it.
            is_other = was_held != (look.holder is not None)
            self._is_due = self._is_due or is_other or moves_answer(look.new)
        self._next_look = time.monotonic() + self._follower.poll_s / 2

    def _work(self, ledger: Ledger) -> None:
        answer, problem = None, None
        try:
            answer = answer_of(ledger)
        except SweepError as error:
            problem = redact(str(error))
        finally:
            with self._lock:
                self._answer, self._answer_problem = answer or self._answer, problem
                self._is_at_work = False
