"""Facts that a report is made from: a sweep's records, its settings, its decisions.

Everything in a report is a function of these facts, so the same ledger gives the same report.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from droplora_sweep.analysis.evidence import benchmarks, candidates, parts_of, subjects_of
from droplora_sweep.analysis.exploration import explore
from droplora_sweep.analysis.methods import compare_methods, compared_fields
from droplora_sweep.analysis.pairing import score_estimate
from droplora_sweep.analysis.search_decision import best_per_benchmark
from droplora_sweep.analysis.winners import winners
from droplora_sweep.errors import SweepError
from droplora_sweep.present.values import storage_text
from droplora_sweep.records.trial import TrialState
from droplora_sweep.run.deciding import Grounds, conclusion_text, confirmed, is_held, notes, on_test
from droplora_sweep.spec.metric_names import MEAN

from .table import Table, row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime

    from droplora_sweep.analysis.confirmed import ConfirmedDecision
    from droplora_sweep.analysis.estimate import Estimate
    from droplora_sweep.analysis.evidence import Candidate, Scores
    from droplora_sweep.analysis.exploration import Marginal
    from droplora_sweep.analysis.grounds import ReferenceRow
    from droplora_sweep.analysis.methods import MethodTable
    from droplora_sweep.analysis.on_test import WinnerOnTest
    from droplora_sweep.analysis.search_decision import Decision
    from droplora_sweep.analysis.winners import Winner
    from droplora_sweep.ledger.reader import Ledger
    from droplora_sweep.records.trial import SweepRecord, TrialRecord


@dataclass(frozen=True)
class Facts:
    """One sweep as a report shows it.

    Attributes:
        record: The sweep with all its trials.
        is_live: True while a driver works on it.
        decisions: The search stage's, one per subject; empty where no trial is complete.
        undecided: The reason why there are none, else "".
        marginals: Score at each rate with the other parameters averaged out, exploratory.
        confirmed: The confirm stage's, one per subject; empty where it has not begun.
        on_test: The recommended rates on the test split; empty before it is scored, once.
        methods: The variants that the sweep compares, None where it compares none.
        decided_on: The split whose examples the answers are from.
        references: Scores that need no training and have to be beaten, by split.
        notes: Lines on rates that are not decided.
        storage: The folder or URL that the sweep is in, as commands take it.
        is_held: True where the confirmation waits for more GPU hours.
        estimates: Validation score of each complete trial with its interval, by trial and subject.
    """

    record: SweepRecord
    is_live: bool
    decisions: tuple[Decision, ...]
    undecided: str
    marginals: tuple[Marginal, ...]
    confirmed: tuple[ConfirmedDecision, ...]
    on_test: tuple[WinnerOnTest, ...]
    methods: MethodTable | None
    estimates: Mapping[str, Mapping[str, Estimate]]
    decided_on: str = "validation"
    references: Mapping[str, tuple[ReferenceRow, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    storage: str = "results"
    is_held: bool = False

    @cached_property
    def searched(self) -> tuple[TrialRecord, ...]:
        """The trials of the search stage, in any state."""
        return self.record.search_trials

    @cached_property
    def subjects(self) -> tuple[str, ...]:
        """The mean over the benchmarks where there are several, then each of them."""
        names = benchmarks(self.searched) or tuple(self.record.spec["task"]["benchmarks"])
        return (MEAN, *names) if len(names) > 1 else names

    @cached_property
    def complete(self) -> tuple[Candidate, ...]:
        """The search-stage trials that trained to their full length, with their finite scores."""
        return tuple(candidates(self.record.comparable_trials))

    @cached_property
    def winners(self) -> tuple[Winner, ...]:
        """The setting to use on each subject.

        Raises:
            SweepError: No trial is complete.
        """
        if not self.decisions:
            raise SweepError(self.undecided)
        return winners(self.decisions, self.confirmed, self.record.confirm_trials)

    @property
    def protocol(self) -> str:
        """Name of the protocol that responses were read by."""
        return str(self.record.spec["evaluation"]["protocol"])

    @property
    def conclusion(self) -> str:
        """The decisions in words, a line each."""
        return conclusion_text(
            self.decisions, self.confirmed, self.on_test, self.notes, self.protocol
        )

    @property
    def objectives(self) -> tuple[str, ...]:
        """Metrics that the search optimises at once; empty where it is one."""
        return tuple(self.record.spec["search"].get("objectives") or ())

    @property
    def as_of(self) -> datetime:
        """Time of the last event: a report tells of nothing later."""
        times = [self.record.started, self.record.finished]
        for trial in self.record.trials:
            times += [trial.started, trial.finished, *(one.time for one in trial.evaluations)]
        return max(time for time in times if time is not None)

    def decision(self, subject: str) -> Decision | None:
        """Return the search stage's decision on a subject."""
        return next((one for one in self.decisions if one.benchmark == subject), None)

    def confirmation(self, subject: str) -> ConfirmedDecision | None:
        """Return the confirm stage's decision; None before it has rates to compare."""
        found = (one for one in self.confirmed if one.benchmark == subject and one.rates)
        return next(found, None)

    def marginal(self, subject: str) -> Marginal | None:
        """The score at each rate with the other parameters averaged out."""
        return next((one for one in self.marginals if one.benchmark == subject), None)


def gather_facts(
    record: SweepRecord,
    scores: Callable[[str], Scores | None],
    confirmed: Sequence[ConfirmedDecision] = (),
    on_test: Sequence[WinnerOnTest] = (),
    *,
    is_live: bool = False,
    notes: Sequence[str] = (),
    storage: str = "results",
    explores: bool = True,
) -> Facts:
    """Decide what a report says, from a ledger's records.

    Args:
        record: The sweep, in any state.
        scores: A trial's score on each example by its id, None where it has none.
        confirmed: The confirm stage's decisions.
        on_test: Scores of the decided rates on the test split.
        is_live: True while a driver works on the sweep.
        notes: Lines on rates that are not decided.
        storage: The folder or URL that the sweep is in, as commands take it.
        explores: False to leave the marginals out, which take seconds.
    """
    searched = record.comparable_trials
    known = {one.trial_id: scores(one.trial_id) for one in searched if _is_complete(one)}
    decisions: tuple[Decision, ...] = ()
    undecided = ""
    try:
        decisions = tuple(best_per_benchmark(searched, known.get))
    except SweepError as error:
        undecided = str(error)
    return Facts(
        record=record,
        is_live=is_live,
        decisions=decisions,
        undecided=undecided,
        marginals=tuple(explore(searched)) if decisions and explores else (),
        confirmed=tuple(confirmed),
        on_test=tuple(on_test),
        methods=compare_methods(searched, compared_fields(record.spec), known.get),
        estimates=_estimates(searched, known),
        notes=tuple(notes),
        storage=storage,
    )


def facts_of(ledger: Ledger, record: SweepRecord | None = None, *, explores: bool = True) -> Facts:
    """Return what is known of a sweep in any state.

    Args:
        ledger: The sweep's.
        record: Its record, where that is to be shown otherwise than it is.
        explores: False to leave the marginals out, which take seconds.
    """
    grounds = Grounds(ledger)
    shown = record or ledger.record
    facts = gather_facts(
        shown,
        ledger.scores,
        confirmed(ledger),
        on_test(ledger),
        is_live=record is None and ledger.holder is not None,
        notes=notes(ledger),
        storage=storage_text(ledger.storage),
        explores=explores,
    )
    return replace(
        facts,
        decisions=tuple(grounds.of_search(facts.decisions)),
        decided_on=shown.confirmed_on if facts.confirmed else "validation",
        references={split: grounds.rows(split) for split in shown.references},
        is_held=is_held(ledger),
    )


def _is_complete(trial: TrialRecord) -> bool:
    return trial.state is TrialState.COMPLETE


def _estimates(
    trials: Sequence[TrialRecord], known: Mapping[str, Scores | None]
) -> dict[str, dict[str, Estimate]]:
    names = benchmarks(trials)
    found: dict[str, dict[str, Estimate]] = {}
    for trial_id, scores in known.items():
        estimates = {
            subject: score_estimate(scores, parts_of(subject, names))
            for subject in subjects_of(names)
        }
        found[trial_id] = {name: one for name, one in estimates.items() if one is not None}
    return found


SECTIONS = ("model", "task", "adapter", "training", "evaluation", "search", "confirm", "group")


def settings_table(record: SweepRecord) -> Table:
    """Return every setting by dotted path, then versions and data."""
    pairs = [
        (path, setting_text(value))
        for section in SECTIONS
        for path, value in leaves(section, record.spec.get(section))
    ]
    pairs += [(f"version of {name}", version) for name, version in record.versions.items()]
    pairs += [(f"data of {name}", digest[:16]) for name, digest in record.data_digests.items()]
    rows = tuple(row(*pair) for pair in pairs)
    return Table("Settings, versions and data", ("setting", "value"), rows)


def leaves(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield each value under a path that is set, by its dotted path."""
    if isinstance(value, dict):
        for name, child in value.items():
            yield from leaves(f"{path}.{name}", child)
    elif value is not None and value != []:
        yield path, value


def setting_text(value: object) -> str:
    """A setting as a file has it."""
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return str(value).lower()
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
