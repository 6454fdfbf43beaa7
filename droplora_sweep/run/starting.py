"""Decision whether a sweep is begun, resumed or refused, before anything is started.

A driver's work counts from its start to its last event, so that the time between a crash and the
resume costs nothing; the work of the driver that runs now counts up to now.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from droplora_sweep.errors import Fault, InputError, SweepError
from droplora_sweep.ledger.reader import Ledger, has_sweep, recorded_sweep, require_new
from droplora_sweep.records.trial import SweepOutcome
from droplora_sweep.spec import trial_limit
from droplora_sweep.spec.rules.composition import METHOD, RANK
from droplora_sweep.spec.rules.notes import ALPHA
from droplora_sweep.spec.trial import QUANTIZER

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime
    from pathlib import Path

    from droplora_sweep.ledger.lease import Holder
    from droplora_sweep.plan.survey import Prepared
    from droplora_sweep.records.trial import Session, SweepRecord, TrialRecord
    from droplora_sweep.spec import SearchSpec, SweepSpec


HOUR = timedelta(hours=1)


def spent(record: SweepRecord, search: SearchSpec, now: datetime | None = None) -> str | None:
    """Which limit of ``search.budget`` is reached; None if none is.

    Args:
        record: The sweep.
        search: Has the budget, and the metric that a target is of.
        now: Where a driver works on it: the time, UTC.
    """
    budget = search.budget
    for name, limit, taken in (
        ("gpu_hours", budget.gpu_hours, gpu_time(record, now)),
        ("wall_clock_hours", budget.wall_clock_hours, wall_time(record, now)),
    ):
        if limit is not None and taken >= limit * HOUR:
            return f"search.budget.{name}: {taken / HOUR:.3g} of {limit:.3g} hours are spent"
    if budget.target_score is not None:
        for trial in record.search_trials:
            score = trial.metrics.get(search.metric)
            if trial.state == "COMPLETE" and score is not None and score >= budget.target_score:
                target = f"search.budget.target_score: {trial.trial_id} has {score:.3g}"
                return f"{target} of {budget.target_score:.3g}"
    return None


def wall_time(record: SweepRecord, now: datetime | None = None) -> timedelta:
    """How long drivers have worked on the sweep."""
    spans = (_end(record, session, now) - session.start for session in record.sessions)
    return sum(spans, timedelta())


def gpu_time(record: SweepRecord, now: datetime | None = None) -> timedelta:
    """Time of all search-stage trials, each times the GPUs (on CPU: workers) of its group.

    Trials taken over from another sweep were copied, and cost next to nothing.
    """
    times = (_gpu_time(trial, record, now) for trial in record.search_trials)
    return sum(times, timedelta())


def _gpu_time(trial: TrialRecord, record: SweepRecord, now: datetime | None) -> timedelta:
    total = timedelta()
    for session in record.sessions:
        end = _end(record, session, now)
        starts = [time for time in trial.starts if session.start <= time <= end]
        if starts:
            # It is this driver's from then on, whatever happens to its groups.
            until = end if trial.finished is None else min(trial.finished, end)
            total += (until - min(starts)) * session.gpus_per_trial
    return total


def _end(record: SweepRecord, session: Session, now: datetime | None) -> datetime:
    is_live = now is not None and session is record.sessions[-1]
    return max(now, session.last) if now is not None and is_live else session.last


FREE = (
    "search.num_trials",
    "search.budget",
    "confirm",
    "group",
    "checkpoint",
    "tracking",
    "storage",
)
"""Fields, and sections with all their fields, that a sweep may go on with other values of: they
change how long it runs, where and how it is shown, and no trial's spec. `confirm` and the number of
trials are free until the first confirmation run (see `starting`). Where ``group.num_workers``
changes, trials started from then on have other fingerprints."""

MAX_SHOWN_CHARACTERS = 60


@dataclass(frozen=True)
class Change:
    """One field that has another value than before.

    Attributes:
        field: Dotted path; ``data.<benchmark>/<split>`` and ``versions.<package>`` for what
            is not in the file.
        was: Value of the sweep that was started; None where it had none.
        now: Value it is to go on with; None where it has none.
    """

    field: str
    was: Any
    now: Any

    @property
    def is_free(self) -> bool:
        """Whether a sweep may go on with it."""
        return any(self.field == free or self.field.startswith(f"{free}.") for free in FREE)

    @property
    def problem(self) -> str:
        """``was 16, now 8``; a field without a value is ``not set``."""
        return f"was {_shown(self.was)}, now {_shown(self.now)}"


def changes(
    record: SweepRecord,
    sweep: SweepSpec,
    data_digests: Mapping[str, str],
    versions: Mapping[str, str],
) -> list[Change]:
    """Every change, in the order of the spec's fields; then data, then packages.

    Packages that take part in no trial's fingerprint (the quantizer of a sweep that does not
    quantize) are left out.

    Raises:
        SweepError: This version cannot read the sweep that was started.
    """
    before = _with_plain_alpha(recorded_sweep(record)).model_dump(mode="json")
    found = _changes("", before, _with_plain_alpha(sweep).model_dump(mode="json"))
    found += _changes("data", record.data_digests, data_digests)
    unused = () if sweep.model.quantization != "none" else (QUANTIZER,)
    was = {name: version for name, version in record.versions.items() if name not in unused}
    now = {name: version for name, version in versions.items() if name not in unused}
    return found + _changes("versions", was, now)


def _with_plain_alpha(sweep: SweepSpec) -> SweepSpec:
    """The sweep with the alpha that its trials have, where one number is that of all of them.

    One that a file does not give was 64 once, whatever the rank.
    """
    searched = sweep.search.parameters
    if ALPHA in searched and not searched[ALPHA].when:
        no_default = sweep.adapter.model_copy(update={"alpha": None})
        return sweep.model_copy(update={"adapter": no_default})
    return sweep if {METHOD, RANK} & searched.keys() else sweep.with_alpha()


def _changes(path: str, was: Mapping[str, Any], now: Mapping[str, Any]) -> list[Change]:
    return list(_walk(path, dict(was), dict(now)))


def _walk(path: str, was: Any, now: Any) -> Iterator[Change]:
    if isinstance(was, dict) and isinstance(now, dict):
        for key in dict.fromkeys([*was, *now]):
            yield from _walk(f"{path}.{key}".removeprefix("."), was.get(key), now.get(key))
    elif was != now:
        yield Change(path, was, now)


def _shown(value: Any) -> str:
    if value is None:
        return "not set"
    text = json.dumps(value)
    return text if len(text) <= MAX_SHOWN_CHARACTERS else text[: MAX_SHOWN_CHARACTERS - 3] + "..."


@dataclass(frozen=True)
class Begin:
    """There is no such sweep yet."""


@dataclass(frozen=True)
class GoOn:
    """Trials are left.

    Attributes:
        num_finished: Trials that stay as they are.
        num_open: Trials that were running and go on.
        changes: What is different from here on.
    """

    num_finished: int
    num_open: int
    changes: tuple[Change, ...]


@dataclass(frozen=True)
class Finished:
    """Nothing is left to run.

    Attributes:
        num_finished: Its trials.
    """

    num_finished: int


Start = Begin | GoOn | Finished


def find_start(prepared: Prepared, storage: Path, versions: Mapping[str, str]) -> Start:
    """Begin, go on or leave alone the sweep of a name, from what the storage holds.

    Raises:
        SweepError: Another driver works on it, or its name is taken by something else.
        InputError: It differs in what its trials' results depend on; each fault at its line.
    """
    name = prepared.sweep.name
    if not has_sweep(storage, name):
        require_new(storage, name)
        return Begin()
    ledger = Ledger.open(storage, name)
    digests = prepared.data_digests()
    try:
        return decide_start(ledger.record, ledger.holder, prepared.sweep, digests, versions)
    except InputError as error:
        raise prepared.file.locate(error) from error


def decide_start(
    record: SweepRecord | None,
    holder: Holder | None,
    sweep: SweepSpec,
    data_digests: Mapping[str, str],
    versions: Mapping[str, str],
) -> Start:
    """What to do about a sweep that is to run.

    Args:
        record: The sweep of its name in its storage; None where there is none.
        holder: The driver that works on it now.
        sweep: What is to run.
        data_digests: Digest of each split that it reads.
        versions: Version of each package that takes part in a result.

    Raises:
        SweepError: Another driver works on it.
        InputError: It differs in what its trials' results depend on, or in what is fixed since
            its confirmation began; one fault for each field.
    """
    if record is None:
        return Begin()
    if holder is not None:
        raise SweepError(f"{record.name}: must have one driver, and is already running on {holder}")
    found = changes(record, sweep, data_digests, versions)
    refused = [change for change in found if not change.is_free]
    settled = [change for change in found if change.is_free and _is_settled(change, record)]
    if refused or settled:
        faults = [Fault("", change.field, change.problem) for change in refused]
        faults += [
            Fault("", each.field, f"{each.problem}, {_why_settled(record)}") for each in settled
        ]
        remedy = (
            f"must be as when {record.name} was started; start a new sweep from its results with "
            "--fork NEWNAME, or from nothing with another --name"
        )
        raise InputError([*faults, Fault("", record.name, remedy)])
    finished = [trial for trial in record.trials if trial.is_finished]
    num_open = len(record.trials) - len(finished)
    num_searched = sum(
        trial.is_finished and trial.clone_of is None for trial in record.search_trials
    )
    before, limit = recorded_sweep(record), trial_limit(sweep)
    has_new_limits = (trial_limit(before), before.search.budget) != (limit, sweep.search.budget)
    has_room = (limit is None or num_searched < limit) and spent(record, sweep.search) is None
    is_longer = has_new_limits and has_room
    is_longer |= any(_is_of_confirmation(change) for change in found)
    is_complete = (
        record.outcome is SweepOutcome.COMPLETE and not num_open and not record.queued_clones
    )
    if is_complete and not is_longer:
        return Finished(len(finished))
    return GoOn(len(finished), num_open, tuple(found))


def _is_of_confirmation(change: Change) -> bool:
    return change.field.partition(".")[0] == "confirm"


def _is_settled(change: Change, record: SweepRecord) -> bool:
    """Whether a field that is free at first is not any more.

    What is compared, and at which numbers of seeds it is decided, is fixed by the first
    confirmation run; that more runs may be paid for is not. After the test split was scored
    nothing more is decided.
    """
    if not record.confirm_trials:
        return False
    if change.field == "confirm.max_runs":
        return any(trial.is_tested for trial in record.trials)
    is_of_length = change.field.startswith(("search.num_trials", "search.budget"))
    return _is_of_confirmation(change) or is_of_length


def _why_settled(record: SweepRecord) -> str:
    if any(trial.is_tested for trial in record.trials):
        return "and the test split has been scored, after which nothing is decided anew"
    return "and its best settings are being confirmed, for which this is fixed"


def start_lines(start: Start, torn: str | None) -> list[str]:
    """What is said about a sweep that goes on.

    Args:
        start: What was decided.
        torn: The torn last line that was cut off its log, if there was one.
    """
    if not isinstance(start, GoOn):
        return []
    plural = "s" * (start.num_finished != 1)
    lines = [f"resumes: {start.num_finished} trial{plural} finished, {start.num_open} unfinished"]
    lines += [f"from here on: {change.field} {change.problem}" for change in start.changes]
    if torn is not None:
        lines.append(f"cut off a torn line, of an event that had not happened: {torn}")
    return lines
