"""Rerun of a trial on a group of its own, compared with the first run."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING

from scipy.stats import binomtest

from droplora_sweep.adapters.export import WEIGHTS_FILE
from droplora_sweep.errors import InputError, SweepError
from droplora_sweep.evaluation.results import example_scores
from droplora_sweep.files import disk_faults_named
from droplora_sweep.ledger.files import read_scores, verified_files, write_results
from droplora_sweep.publishing import publish_folder
from droplora_sweep.records.layout import ADAPTER, RESULTS
from droplora_sweep.records.messages import Failed
from droplora_sweep.records.trial import TrialState
from droplora_sweep.spec import TrialSpec, fingerprint, package_versions
from droplora_sweep.spec.fields import with_fields

from .alone import lone_group
from .connection import resolve_address
from .ending import Interruption

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from droplora_sweep.analysis.evidence import Scores
    from droplora_sweep.groups.messages import Delivery
    from droplora_sweep.ledger.reader import Ledger
    from droplora_sweep.plan.survey import Prepared
    from droplora_sweep.publishing import Content
    from droplora_sweep.records.trial import SweepRecord, TrialRecord
    from droplora_sweep.storage.file_set import FileSet

MOST_WORKERS = 1024
SIGNIFICANCE = 0.01
"""Chance for each benchmark that roundings alone are taken for another result."""


class RerunOutcome(StrEnum):
    """Likeness of two runs of a trial."""

    SAME_BYTES = "reproduced to the byte"
    SAME_SCORES = "reproduced in every score"
    CLOSE = "reproduced but for rounding"
    SAME_FAILURE = "failed again, for the same reason"
    DIFFERENT = "did not reproduce"


@dataclass(frozen=True)
class Run:
    """Results of one run of a trial.

    Attributes:
        files: The adapter's files; None where it left none.
        scores: By benchmark, then by example.
        failure: The reason where there are none.
    """

    files: FileSet | None
    scores: Scores

    @property
    def digests(self) -> dict[str, str]:
        """sha256 of each file of the adapter, by name."""
        return {} if self.files is None else self.files.digests

    failure: str | None = None


@dataclass(frozen=True)
class Reproduction:
    """Comparison of two runs of a trial.

    Attributes:
        outcome: Their likeness.
        details: Differences of the results, one line each.
        circumstances: Differences of code, data and settings, one line each.
    """

    outcome: RerunOutcome
    details: tuple[str, ...]
    circumstances: tuple[str, ...]

    @property
    def is_success(self) -> bool:
        return self.outcome is not RerunOutcome.DIFFERENT


def compare(
    before: Run,
    now: Run,
    circumstances: Sequence[str],
    farthest: float | None = None,
    *,
    may_round: bool = False,
) -> Reproduction:
    """Compare two runs of one trial.

    Kernels that add numbers in any order leave other roundings, which training amplifies: some
    answers change, as many for the better as for the worse. Where a two-sided sign test finds no
    more than that on any benchmark, at `SIGNIFICANCE`, the run has reproduced but for rounding.

    Args:
        before: As the ledger has it.
        now: As it came out again.
        circumstances: See `changed_circumstances`.
        farthest: Largest difference of any weight; None where weights cannot be compared.
        may_round: True where the trial need not come out bit for bit.
    """
    if before.failure is not None or now.failure is not None:
        same = before.failure == now.failure
        outcome = RerunOutcome.SAME_FAILURE if same else RerunOutcome.DIFFERENT
        details = [f"then: {before.failure or 'no failure'}", f"now: {now.failure or 'no failure'}"]
        return Reproduction(outcome, () if same else tuple(details), tuple(circumstances))
    if before.scores == now.scores:
        same = before.digests == now.digests
        outcome = RerunOutcome.SAME_BYTES if same else RerunOutcome.SAME_SCORES
    elif may_round and _differ_by_chance(before.scores, now.scores):
        outcome = RerunOutcome.CLOSE
    else:
        outcome = RerunOutcome.DIFFERENT
    details = [*_score_lines(before.scores, now.scores), *_file_lines(before.digests, now.digests)]
    if farthest:
        details.append(f"weights: the largest difference of any is {farthest:.2g}")
    return Reproduction(outcome, tuple(details), tuple(circumstances))


def _differ_by_chance(before: Scores, now: Scores) -> bool:
    for name in {*before, *now}:
        first, second = before.get(name, {}), now.get(name, {})
        if first.keys() != second.keys():
            return False
        gains = [(second[one] or 0) - (first[one] or 0) for one in first]
        num_better, num_changed = sum(gain > 0 for gain in gains), sum(gain != 0 for gain in gains)
        if num_changed and binomtest(num_better, num_changed).pvalue < SIGNIFICANCE:
            return False
    return True


def _score_lines(before: Scores, now: Scores) -> list[str]:
    lines = []
    for name in dict.fromkeys([*before, *now]):
        first, second = before.get(name, {}), now.get(name, {})
        ids = dict.fromkeys([*first, *second])
        others = [one for one in ids if first.get(one) != second.get(one)]
        if others:
            lines.append(
                f"{name}: {len(others)} of {len(ids)} examples have another score; mean "
                f"{_mean(first):.4f} then, {_mean(second):.4f} now"
            )
    return lines


def _file_lines(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    if not before:
        return ["the trial left no adapter, so only scores are compared"]
    names = sorted({*before, *now})
    return [f"{name}: other bytes" for name in names if before.get(name) != now.get(name)]


def _mean(scores: Mapping[str, float | None]) -> float:
    known = [score for score in scores.values() if score is not None]
    return sum(known) / len(known) if known else float("nan")


def workers_of(trial: TrialRecord, spec: TrialSpec, record: SweepRecord) -> int | None:
    """Return the number of workers that trained a trial, by its fingerprint; None if not found.

    Args:
        trial: The trial.
        spec: Its spec.
        record: Its sweep, whose groups may have been of another size then.
    """
    last = int(record.spec["group"]["num_workers"])
    for number in dict.fromkeys((last, *range(1, MOST_WORKERS + 1))):
        digest = fingerprint(
            spec, record.data_digests, record.versions, num_workers=number, start=trial.start
        )
        if digest == trial.fingerprint:
            return number
    return None


def changed_circumstances(
    trial: TrialRecord,
    record: SweepRecord,
    data_digests: Mapping[str, str],
    versions: Mapping[str, str],
) -> list[str]:
    """Return differences between a rerun's code, data and settings and the trial's, a line each.

    Args:
        trial: The trial.
        record: Its sweep.
        data_digests: Digest of each split, now.
        versions: Version by package, now.
    """
    lines = [
        f"{kind} {name}: then {was.get(name, 'none')}, now {now.get(name, 'none')}"
        for kind, was, now in (
            ("version of", record.versions, versions),
            ("data of", record.data_digests, data_digests),
        )
        for name in dict.fromkeys([*was, *now])
        if was.get(name) != now.get(name)
    ]
    lines += [
        f"{path}: then lowered to {value} when memory ran out, now {value} from the first step"
        for path, value in trial.adjusted.items()
    ]
    return lines


REPORT = "rerun.json"


def rerun(
    prepared: Prepared,
    ledger: Ledger,
    trial: TrialRecord,
    *,
    address: str,
    output: Path | None,
    say: Callable[[str], None],
) -> Reproduction:
    """Train a trial again as it was, up to its last evaluation, and compare.

    Args:
        prepared: The trial's sweep, checked: its model and its data are there.
        ledger: Is only read.
        trial: A finished trial.
        address: ``auto``, ``local``, or a Ray cluster's address.
        output: Folder for the rerun's adapter and results; None keeps neither.
        say: Shows one line.

    Raises:
        InputError: ``output`` exists, the trial has not finished, or it has copied another.
        SweepError: The trial's adapter is damaged, there is no such cluster, the group cannot
            start, or a signal came.
    """
    if output is not None and output.exists():
        raise InputError.of("--output", f"must be new, got {output}, which exists")
    if not trial.is_finished:
        raise InputError.of("TRIAL", f"must have finished, got {trial.trial_id}")
    if trial.schedule:
        problem = "must have trained by itself, got a member of a population that has copied "
        problem += f"{trial.schedule[0].source}, whose weights then are not kept"
        raise InputError.of("TRIAL", problem)
    if not trial.evaluations and trial.state is not TrialState.FAILED:
        problem = f"must have been evaluated, got {trial.trial_id}"
        raise InputError.of("TRIAL", problem)
    before = _as_recorded(trial)
    spec = trial.trial_spec
    workers = workers_of(trial, spec, ledger.record)
    circumstances = changed_circumstances(
        trial, ledger.record, prepared.data_digests(), package_versions()
    )
    if workers is None:
        workers = prepared.sweep.group.num_workers
        circumstances.append(
            "this package: it computes other fingerprints now, so the trial's number of workers is "
            f"not known; the rerun has {workers}, as the sweep's last driver had"
        )
    group = prepared.sweep.group.model_copy(update={"num_workers": workers})
    sweep = prepared.sweep.model_copy(update={"model": spec.model, "group": group})
    start = None
    if trial.start is not None:
        start = verified_files(ledger.trial(trial.start.trial_id))
    may_round = group.gpus_per_worker > 0 and spec.training.determinism != "strict"
    cluster = resolve_address(address)
    say(f"{trial.trial_id}: connecting to Ray ({cluster})")
    with lone_group(sweep, cluster, say) as alone, Interruption() as stop:
        fidelity = ledger.record.fidelity_of(trial)
        less = "" if fidelity is None else f", at the search's fidelity ({fidelity})"
        say(f"{trial.trial_id}: trains again, on {workers} workers{less}")
        outcome = alone.train(
            trial.trial_id,
            with_fields(spec, trial.adjusted),
            start=start,
            last=max((each.number for each in trial.evaluations), default=None),
            on_evaluation=lambda each: say(
                f"{trial.trial_id}: evaluated {each.number}, step {each.step}"
            ),
            check=partial(_check, stop),
        )
        found = _compared(before, outcome, circumstances, may_round=may_round)
        if output is not None:
            _save(output, trial, outcome, found)
    return found


def _compared(
    before: Run, outcome: Delivery | Failed, circumstances: Sequence[str], *, may_round: bool
) -> Reproduction:
    if isinstance(outcome, Failed):
        now = Run(None, {}, outcome.reason)
    else:
        scores = ((one.benchmark, one.example_id, one.score) for one in outcome.results)
        now = Run(outcome.files, example_scores(scores))
    farthest = _farthest(before.files, now.files)
    return compare(before, now, circumstances, farthest, may_round=may_round)


def _as_recorded(trial: TrialRecord) -> Run:
    """Return the results that a trial left, verified.

    Raises:
        SweepError: Its adapter is damaged.
    """
    if trial.state is TrialState.FAILED:
        return Run(None, {}, trial.reason or "no reason is known")
    files = None if trial.adapter is None else verified_files(trial)
    return Run(files, {} if trial.results is None else read_scores(trial.results))


def _check(stop: Interruption) -> None:
    if stop.signal is not None:
        raise SweepError(f"the rerun was ended by {stop.signal}; nothing of it is kept")


def _farthest(before: FileSet | None, now: FileSet | None) -> float | None:
    """The largest difference of any weight; None where they are not of the same shapes."""
    from safetensors.torch import load_file

    if before is None or now is None:
        return None
    if WEIGHTS_FILE not in before.files or WEIGHTS_FILE not in now.files:
        return None
    first, second = (load_file(each.path(WEIGHTS_FILE)) for each in (before, now))
    shapes = [{name: one.shape for name, one in each.items()} for each in (first, second)]
    if shapes[0] != shapes[1]:
        return None
    return max(float((first[name].double() - second[name].double()).abs().max()) for name in first)


def _save(
    output: Path, trial: TrialRecord, outcome: Delivery | Failed, found: Reproduction
) -> None:
    report = {
        "trial": trial.trial_id,
        "outcome": found.outcome.value,
        "details": list(found.details),
        "circumstances": list(found.circumstances),
        "failure": outcome.reason if isinstance(outcome, Failed) else None,
    }
    files: dict[str, Content] = {REPORT: (json.dumps(report, indent=2) + "\n").encode()}
    if not isinstance(outcome, Failed):
        received = {} if outcome.files is None else outcome.files.moved()
        files |= {f"{ADAPTER}/{name}": file for name, file in received.items()}
        if results := outcome.results:
            files[RESULTS] = lambda path: write_results(path, results)
    with disk_faults_named(output):
        publish_folder(output.resolve(), files)
