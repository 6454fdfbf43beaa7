"""Settings that a user names to compare: trials, arms of the confirmation, or rates."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from droplora_sweep.analysis.comparisons import BASELINE_SUFFIX, all_arms
from droplora_sweep.analysis.evidence import candidates, pruning_rate
from droplora_sweep.errors import InputError
from droplora_sweep.ledger.reader import named_trial
from droplora_sweep.records.trial import TrialState
from droplora_sweep.run.confirming import confirmation_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from droplora_sweep.analysis.comparisons import Comparison
    from droplora_sweep.analysis.evidence import Arm
    from droplora_sweep.ledger.reader import Ledger
    from droplora_sweep.records.trial import TrialRecord

RATE = re.compile(r"p ?= ?(\S+)|(\d*\.\d+)")
NUMBER = re.compile(r"\d+")


@dataclass(frozen=True)
class Side:
    """One setting with the runs that score it.

    Attributes:
        name: The search trial, the arm or the confirmation run.
        pruning_rate: Its pruning rate.
        runs: Id of each complete run, by seed.
        split: The split that they are scored on.
    """

    name: str
    pruning_rate: float
    runs: Mapping[int, str]
    split: str

    @property
    def label(self) -> str:
        """Its rate and its name: ``p = 0.2 (t0003)``."""
        short, _, suffix = self.name.partition("@")
        base = short.partition("-")[0]
        return f"p = {self.pruning_rate:g} ({base}{'@' * bool(suffix)}{suffix})"


class Sides:
    """Finds the settings of one sweep by what a user calls them.

    Args:
        ledger: The sweep's.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._record = ledger.record
        found = None
        if self._record.confirm_trials:
            found = confirmation_of(self._record, ledger)
        self._comparisons: Sequence[Comparison] = () if found is None else found.comparisons

    def pair(self, first: str, second: str, benchmark: str) -> tuple[Side, Side]:
        """Return two settings that were scored on the same split.

        Both are meant as they were confirmed, with all their seeds, where both were; else as
        trials of the search.

        Args:
            first: A trial's id, its start or its number, an arm's name, or a rate: ``p=0.2``.
            second: The same of the other.
            benchmark: Rates mean the setting that stands for them on this benchmark.

        Raises:
            InputError: One has no complete run, both are the same, or they share no split.
            SweepError: There is no such trial, or several.
        """
        ways = [self._find(text, role, benchmark) for text, role in ((first, "A"), (second, "B"))]
        shared = [(one, other) for one in ways[0] for other in ways[1] if one.split == other.split]
        if not shared:
            [one, *_], [other, *_] = ways
            raise InputError.of(
                "B",
                f"must be scored on the same split as A, got {one.label} on {one.split} and "
                f"{other.label} on {other.split}",
            )
        one, other = shared[0]
        if one.runs == other.runs:
            raise InputError.of("B", f"must be another setting than A, got {one.name} twice")
        return one, other

    def winner_pair(self, arms: Sequence[Arm | None]) -> tuple[Side, Side] | None:
        """Return two confirmed arms; None where one has no complete run."""
        found = [self._arm(arm) for arm in arms if arm is not None]
        return (
            None if len(found) < 2 or not all(one.runs for one in found) else (found[0], found[1])
        )

    def trial(self, trial_id: str) -> Side:
        """Return a trial as one setting with one run."""
        return _side(self._ledger.trial(trial_id))

    def _find(self, text: str, role: str, benchmark: str) -> list[Side]:
        """Return the ways in which a setting can be meant, the confirmed one first."""
        match = RATE.fullmatch(text.strip())
        if match:
            return self._of_rate(match[1] or match[2], role, benchmark)
        base, at, suffix = text.partition("@")
        name = f"t{int(base):04d}" if NUMBER.fullmatch(base) else base
        arms = [
            arm
            for arm in all_arms(self._comparisons)
            if arm.name.endswith(BASELINE_SUFFIX) == bool(at)
            and arm.name.startswith(name)
            and (not at or f"@{suffix}" == BASELINE_SUFFIX)
        ]
        if at:
            if len(arms) != 1:
                known = ", ".join(arm.name for arm in all_arms(self._comparisons)) or "none"
                raise InputError.of(
                    role, f"must be an arm of the confirmation ({known}), got {text}"
                )
            return self._with_runs([self._arm(arms[0])], role, text)
        trial = named_trial(self._ledger, name)
        of_trial = [arm for arm in arms if arm.name == trial.trial_id]
        sides = [*map(self._arm, of_trial)]
        if trial.state is TrialState.COMPLETE and trial.results is not None:
            sides.append(_side(trial))
        return self._with_runs(sides, role, f"{trial.trial_id}, {trial.state.lower()}")

    def _of_rate(self, text: str, role: str, benchmark: str) -> list[Side]:
        try:
            rate = round(float(text), 9)
        except ValueError:
            raise InputError.of(role, f"must be a rate such as p=0.2, got {text}") from None
        own = [one for one in self._comparisons if one.subject == benchmark]
        arms = [
            arm
            for one in (*own, *self._comparisons)
            for arm in one.arms
            if round(arm.pruning_rate, 9) == rate
        ]
        sides = [self._arm(arms[0])] if arms else []
        searched = [
            one
            for one in candidates(self._record.comparable_trials)
            if one.pruning_rate == rate and benchmark in one.scores
        ]
        if searched:
            best = max(searched, key=lambda one: (one.scores[benchmark], -one.number))
            sides.append(self.trial(best.trial_id))
        return self._with_runs(sides, role, f"p = {rate:g}")

    def _with_runs(self, sides: Sequence[Side], role: str, text: str) -> list[Side]:
        found = [side for side in sides if side.runs]
        if not found:
            problem = f"must have a complete run with results, got {text}"
            raise InputError.of(role, problem)
        return found

    def _arm(self, arm: Arm) -> Side:
        runs = {
            trial.spec["seed"]: trial.trial_id
            for trial in self._record.confirm_trials
            if trial.arm == arm.name
            and trial.state is TrialState.COMPLETE
            and trial.results is not None
        }
        return Side(arm.name, arm.pruning_rate, runs, self._record.confirmed_on)


def _side(trial: TrialRecord) -> Side:
    has_results = trial.results is not None and trial.state is TrialState.COMPLETE
    runs = {trial.spec["seed"]: trial.trial_id} if has_results else {}
    split = trial.spec["evaluation"].get("split", "validation")
    return Side(trial.trial_id, pruning_rate(trial), runs, split)
