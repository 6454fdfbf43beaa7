"""Decision whether a sweep is begun, resumed or refused, before anything is started."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from droplora_sweep.errors import Fault, InputError, SweepError
from droplora_sweep.ledger.reader import Ledger, has_sweep, recorded_sweep, require_new
from droplora_sweep.ledger.writer import LedgerWriter
from droplora_sweep.plan.survey import remote_code_note
from droplora_sweep.records.trial import SweepOutcome
from droplora_sweep.spec import TpeSpec, file_notes, possible_values, trial_limit
from droplora_sweep.spec.rules.composition import METHOD, RANK
from droplora_sweep.spec.rules.notes import ALPHA
from droplora_sweep.spec.trial import AUTO_MICRO_BATCH, QUANTIZER

from .confirming import looked_at_note
from .forking import past_of
from .spending import spent
from .warm_start import earlier_trials, warm_start

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from droplora_sweep.ledger.lease import Holder
    from droplora_sweep.plan.survey import Prepared
    from droplora_sweep.records.trial import (
        PastTrial,
        StartingPoint,
        SweepRecord,
    )
    from droplora_sweep.spec import SweepSpec

    from .runs import Identity


FREE = (
    "search.num_trials",
    "search.budget",
    "confirm",
    "group",
    "checkpoint",
    "tracking",
    "storage",
)
"""Fields, and sections with all their fields, that a sweep may continue with other values of: they
change how long it runs, where and how it is shown, and no trial's spec. `confirm` and the number of
trials are free until the first confirmation run (see `starting`). Where ``group.num_workers``
changes, trials started from then on have other fingerprints."""

OF_COST = ("confirm.max_runs", "confirm.gpu_hours")
"""Fields of the confirmation that stay free until the test split is scored."""

MAX_SHOWN_CHARACTERS = 60


@dataclass(frozen=True)
class Change:
    """One field that has another value than before.

    Attributes:
        field: Dotted path; ``data.<benchmark>/<split>`` and ``versions.<package>`` for what
            is not in the file.
        was: Value of the sweep that was started; None where it had none.
        now: Value it is to continue with; None where it has none.
    """

    field: str
    was: Any
    now: Any

    @property
    def is_free(self) -> bool:
        """True where a sweep may be resumed with it."""
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
    """Return every change, in the order of the spec's fields; then data, then packages.

    Packages that take part in no trial's fingerprint (the quantizer of a sweep that does not
    quantize) are left out.

    Raises:
        SweepError: This version cannot read the sweep that was started.
    """
    before = _with_plain_alpha(recorded_sweep(record)).model_dump(mode="json")
    after = _with_plain_alpha(sweep).model_dump(mode="json")
    kinds = [kind for _, kind in possible_values("training.optimizer", sweep)]
    is_used = sweep.model.quantization != "none" or "adamw_8bit" in kinds
    unused = () if is_used else (QUANTIZER,)
    was = {name: version for name, version in record.versions.items() if name not in unused}
    now = {name: version for name, version in versions.items() if name not in unused}
    return [
        *_walk("", before, after),
        *_walk("data", dict(record.data_digests), dict(data_digests)),
        *_walk("versions", was, now),
    ]


def _with_plain_alpha(sweep: SweepSpec) -> SweepSpec:
    """The sweep with the alpha that its trials have, where one number is that of all of them.

    One that a file does not give was 64 once, whatever the rank.
    """
    searched = sweep.search.parameters
    if ALPHA in searched and not searched[ALPHA].when:
        no_default = sweep.adapter.model_copy(update={"alpha": None})
        return sweep.model_copy(update={"adapter": no_default})
    return sweep if {METHOD, RANK} & searched.keys() else sweep.with_alpha()


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
    """There is no such sweep yet.

    Attributes:
        past: Trials of other sweeps that a fork or a warm start begins with.
        points: Settings to run early.
    """

    past: tuple[PastTrial, ...] = ()
    points: tuple[StartingPoint, ...] = ()


@dataclass(frozen=True)
class Resume:
    """Trials are left.

    Attributes:
        num_finished: Trials that stay as they are.
        num_unfinished: Trials that were running and are resumed.
        changes: Differences from here on.
    """

    num_finished: int
    num_unfinished: int
    changes: tuple[Change, ...]


@dataclass(frozen=True)
class Finished:
    """Nothing is left to run.

    Attributes:
        num_finished: Its trials.
    """

    num_finished: int


Start = Begin | Resume | Finished


def as_begun(prepared: Prepared, storage: Path, origin: Ledger | None) -> Prepared:
    """Return a sweep with what it was begun with where its file leaves that to a default.

    Defaults that an earlier version had others of: the sampler, the choice of finalists, the
    precision on GPUs, and the MLflow experiment; and a micro-batch that was chosen for it. A fork
    has those of its origin.
    """
    sweep = prepared.sweep
    if origin is not None:
        before = recorded_sweep(origin.record)
    elif has_sweep(storage, sweep.name):
        before = recorded_sweep(Ledger.open(storage, sweep.name).record)
    else:
        return prepared
    return replace(prepared, sweep=with_choices_of(before, sweep))


def with_choices_of(before: SweepSpec, sweep: SweepSpec) -> SweepSpec:
    """Return a sweep with another's former defaults where it names no value of its own. Pure."""
    search, confirm = sweep.search, sweep.confirm
    former = TpeSpec()
    if "sampler" not in search.model_fields_set and before.search.sampler == former:
        search = search.model_copy(update={"sampler": former})
    if confirm and before.confirm and "finalists" not in confirm.model_fields_set:
        confirm = confirm.model_copy(update={"finalists": before.confirm.finalists})
    model = sweep.model
    if "dtype" not in model.model_fields_set:
        model = model.model_copy(update={"dtype": before.model.dtype})
    training = sweep.training
    if training.micro_batch_size == AUTO_MICRO_BATCH:
        chosen_before = before.training.micro_batch_size
        training = training.model_copy(update={"micro_batch_size": chosen_before})
    tracking = sweep.tracking
    if "experiment" not in tracking.model_fields_set:
        tracking = tracking.model_copy(update={"experiment": before.tracking.experiment})
    chosen = {
        "search": search,
        "confirm": confirm,
        "model": model,
        "training": training,
        "tracking": tracking,
    }
    return sweep.model_copy(update=chosen)


def find_start(
    prepared: Prepared,
    storage: Path,
    identify: Identity,
    origin: Ledger | None,
    *,
    num_retries: int = 0,
) -> Start:
    """Begin, resume or leave alone the sweep of a name, from what the storage holds.

    Args:
        prepared: The sweep.
        storage: Folder of all sweeps.
        identify: Has the digests of its data and the versions of packages.
        origin: The sweep that it is a fork of.
        num_retries: Failed trials that are to be run again.

    Raises:
        SweepError: Another driver works on it, or its name is taken by something else.
        InputError: It differs in what its trials' results depend on; each fault at its line.
    """
    sweep = prepared.sweep
    if not has_sweep(storage, sweep.name):
        require_new(storage, sweep.name)
        past = () if origin is None else past_of(origin.record, sweep, identify)
        earlier = earlier_trials(prepared)
        priors, points = warm_start(earlier, sweep, identify.data_digests, len(past))
        return Begin((*past, *priors), points)
    ledger = Ledger.open(storage, sweep.name)
    digests, versions = identify.data_digests, identify.versions
    try:
        return decide_start(
            ledger.record, ledger.holder, sweep, digests, versions, num_retries=num_retries
        )
    except InputError as error:
        raise prepared.file.locate(error) from error


def open_ledger(
    start: Begin | Resume, storage: Path, sweep: SweepSpec, identify: Identity
) -> LedgerWriter:
    """Begin or resume a sweep's ledger.

    Raises:
        SweepError: Another driver was faster, or the file system refuses.
    """
    if isinstance(start, Resume):
        return LedgerWriter.resume(storage, sweep, versions=identify.versions)
    return LedgerWriter.create(
        storage,
        sweep,
        data_digests=identify.data_digests,
        versions=identify.versions,
        past=start.past,
        points=start.points,
    )


def decide_start(
    record: SweepRecord,
    holder: Holder | None,
    sweep: SweepSpec,
    data_digests: Mapping[str, str],
    versions: Mapping[str, str],
    *,
    num_retries: int = 0,
) -> Resume | Finished:
    """Decide what to do about a sweep that was begun and is to run. Pure.

    Args:
        record: The sweep of its name in its storage.
        holder: The driver that works on it now.
        sweep: The sweep to run.
        data_digests: Digest of each split that it reads.
        versions: Version of each package that takes part in a result.
        num_retries: Failed trials that are to be run again.

    Raises:
        SweepError: Another driver works on it.
        InputError: It differs in what its trials' results depend on, or in what is fixed since
            its confirmation began; one fault for each field.
    """
    if holder is not None:
        raise SweepError(f"{record.name}: must have one driver, and is already running on {holder}")
    found = changes(record, sweep, data_digests, versions)
    faults = [
        Fault("", change.field, problem)
        for change in found
        if (problem := _refusal(change, record)) is not None
    ]
    if faults:
        remedy = (
            f"must be as when {record.name} was started; to change it, start a new sweep from its "
            "results with --fork NEWNAME, or from nothing with another --name"
        )
        raise InputError([*faults, Fault("", record.name, remedy)])
    finished = [trial for trial in record.trials if trial.is_finished]
    num_unfinished = len(record.trials) - len(finished)
    num_searched = sum(
        trial.is_finished and trial.clone_of is None for trial in record.search_trials
    )
    before, limit = recorded_sweep(record), trial_limit(sweep)
    has_new_limits = (trial_limit(before), before.search.budget) != (limit, sweep.search.budget)
    has_room = (limit is None or num_searched < limit) and spent(record, sweep.search) is None
    is_longer = has_new_limits and has_room
    is_longer |= any(_is_of_confirmation(change) for change in found)
    is_complete = (
        record.outcome is SweepOutcome.COMPLETE and not num_unfinished and not record.queued_clones
    )
    if is_complete and not is_longer and not num_retries:
        return Finished(len(finished))
    return Resume(len(finished) - num_retries, num_unfinished + num_retries, tuple(found))


def _is_of_confirmation(change: Change) -> bool:
    return change.field.partition(".")[0] == "confirm"


def _refusal(change: Change, record: SweepRecord) -> str | None:
    """Return why a sweep cannot be resumed with a change; None where it can.

    The first confirmation run fixes the length of the search, the comparisons and the numbers of
    seeds of their interim analyses, but not the number of runs or hours. After the test split was
    scored nothing more is decided.
    """
    if not change.is_free:
        # Where the canary found something wrong there is no result that it could not go with.
        has_begun = bool(record.trials or record.past or record.points or record.references)
        is_of_file = not change.field.startswith(("data.", "versions."))
        return None if is_of_file and not has_begun else change.problem
    of_length = ("search.num_trials", "search.budget")
    is_fixed = _is_of_confirmation(change) or change.field.startswith(of_length)
    if not record.confirm_trials or not is_fixed:
        return None
    if any(trial.is_tested for trial in record.trials):
        why = "and the test split has been scored, after which nothing is decided anew"
    elif change.field in OF_COST:
        return None
    else:
        why = "and its best settings are being confirmed, for which this is fixed"
    return f"{change.problem}, {why}"


def start_lines(start: Start, torn: str | None) -> list[str]:
    """Return the lines for a sweep that is resumed.

    Args:
        start: The decision.
        torn: The torn last line that was cut off its log, if there was one.
    """
    if not isinstance(start, Resume):
        return []
    plural = "s" * (start.num_finished != 1)
    lines = [
        f"resumes: {start.num_finished} trial{plural} finished, {start.num_unfinished} unfinished"
    ]
    lines += [f"from here on: {change.field} {change.problem}" for change in start.changes]
    if torn is not None:
        lines.append(f"cut off a torn line, of an event that had not happened: {torn}")
    return lines


def notes(
    prepared: Prepared, origin: Ledger | None, remarks: Iterable[str | None] = ()
) -> list[str]:
    """Return notes for the user before a sweep runs, a line each.

    Args:
        prepared: The sweep.
        origin: The sweep that it is a fork of.
        remarks: Further ones, of its cluster.
    """
    found = [remote_code_note(prepared.sweep), *file_notes(prepared.sweep), *prepared.model.notes]
    if origin is not None:
        found.append(looked_at_note(origin.record))
    return [note for note in (*found, *remarks) if note]
