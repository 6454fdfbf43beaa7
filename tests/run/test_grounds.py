"""Sweeps whose trials have learned nothing, from nothing but their ledgers: nothing is decided."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from droplora_sweep.analysis.confirmed import ConfirmedVerdict
from droplora_sweep.analysis.search_decision import Verdict
from droplora_sweep.evaluation.results import ExampleResult
from droplora_sweep.ledger.writer import LedgerWriter
from droplora_sweep.present.report.page import facts_of, make_report
from droplora_sweep.records.trial import Stage, TrialState
from droplora_sweep.run.confirming import confirmation_of, wanted_on_test
from droplora_sweep.run.deciding import (
    Grounds,
    conclusion,
    confirmed,
    decide,
    stage_text,
    winners_of,
)
from droplora_sweep.run.runs import Identity
from droplora_sweep.spec import SweepSpec
from tests.calling import call
from tests.recording import evaluated, planned

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


IDENTITY = Identity({}, {"torch": "2", "transformers": "5", "peft": "0", "deepspeed": "0"}, 1)
NUM_EXAMPLES = 40
OPTIONS = ("answer1", "answer2", "answer3", "answer4")
FREQUENT = {"arc_easy": ("answer1", 0.25)}
CHANCE = {"arc_easy": 0.25}
LEARNED = {0.0: 0.7, 0.2: 0.8}
NOT_LEARNED = {0.0: 0.15, 0.2: 0.25}


def results(
    share: float, shift: int = 0, said: str | None = None, name: str = "arc_easy"
) -> list[ExampleResult]:
    """So many of the answers are right; or all are the same, and right where that is the answer."""
    found = []
    for index in range(NUM_EXAMPLES):
        gold = OPTIONS[index % 4]
        # By fives, so that wrong answers are of every kind.
        is_right = (index * 7 + shift) % NUM_EXAMPLES < round(share * NUM_EXAMPLES)
        answer = gold if is_right else OPTIONS[(index + 1 + shift) % 4]
        answer = said or (answer if is_right or answer != gold else OPTIONS[(index + 2) % 4])
        correct = answer == gold
        found.append(ExampleResult(name, f"e{index}", answer, answer, gold, correct, 3))
    return found


class Driver:
    """Writes a whole sweep as a driver does, without training anything."""

    def __init__(self, storage: Path, confirm: dict[str, Any] | None) -> None:
        fields = {"name": "s", "task": {"benchmarks": ["arc_easy"], "data": "."}}
        self.sweep = SweepSpec.model_validate({**fields, "confirm": confirm})
        self.ledger = LedgerWriter.create(
            storage,
            self.sweep,
            data_digests={"arc_easy/test": "ab" * 32},
            versions=IDENTITY.versions,
        )

    def reference(self, split: str, untrained: float = 0.25) -> None:
        self.ledger.reference_scored(split, results(untrained), FREQUENT, CHANCE)

    def search(
        self,
        shares: dict[float, float],
        said: str | None = None,
        metrics: dict[str, float] | None = None,
    ) -> None:
        for number, (rate, share) in enumerate(shares.items()):
            adapter = self.sweep.adapter.model_copy(update={"pruning_rate": rate})
            spec = self.sweep.trial.model_copy(update={"adapter": adapter})
            name, digest = IDENTITY(number, spec)
            self.ledger.trial_started(
                planned(name, number, digest, spec, {"adapter.pruning_rate": rate})
            )
            given = {"val/arc_easy": share, "val/mean": share, **(metrics or {})}
            self.ledger.trial_reported(name, evaluated(1, 10, given, num_evaluations=1))
            self.ledger.trial_finished(
                name,
                TrialState.COMPLETE,
                adapter_files={"a": b""},
                results=results(share, said=said),
            )

    def confirm(
        self,
        shares: dict[float, float],
        said: str | None = None,
        metrics: dict[str, float] | None = None,
    ) -> None:
        while True:
            found = confirmation_of(self.ledger.record, self.ledger)
            assert found is not None
            if not found.progress.missing:
                return
            arm, seed = found.progress.missing[0]
            spec = found.run_spec(arm.name, seed)
            number = len(self.ledger.confirm_records())
            name, digest = IDENTITY(number, spec, stage=Stage.CONFIRM)
            self.ledger.trial_started(
                planned(name, number, digest, spec, {}, stage=Stage.CONFIRM, arm=arm.name)
            )
            share = shares[arm.pruning_rate]
            self.ledger.trial_reported(
                name,
                evaluated(1, 10, {"confirm/arc_easy": share, **(metrics or {})}, num_evaluations=1),
            )
            self.ledger.trial_finished(
                name,
                TrialState.COMPLETE,
                adapter_files={"a": b""},
                results=results(share, seed % 3, said),
            )


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Callable[..., Driver]]:
    """Starts a sweep; with a confirmation of one rate and three seeds unless told otherwise."""
    drivers = []

    def make(*, confirm: bool = True) -> Driver:
        drivers.append(Driver(tmp_path, {"rates": 1, "seeds": 3} if confirm else None))
        return drivers[-1]

    yield make
    for driver in drivers:
        driver.ledger.close()


NOT_ABOVE = (
    'no rate scores clearly above the untrained model (25.0%), always answering "answer1" (25.0%) '
    "or chance (25.0%): the best has 25.0%"
)


def test_a_search_below_chance_decides_nothing_and_says_why(begin: Callable[..., Driver]) -> None:
    driver = begin(confirm=False)
    driver.reference("validation")
    driver.search(NOT_LEARNED)
    [decision] = decide(driver.ledger)
    assert (decision.verdict, decision.reasons) == (Verdict.NOTHING, (NOT_ABOVE,))
    [winner] = winners_of(driver.ledger)
    assert (winner.pruning_rate, winner.trial_id, winner.reasons) == (None, None, (NOT_ABOVE,))
    text = conclusion(driver.ledger)
    assert f"arc_easy: nothing to decide: {NOT_ABOVE}" in text
    assert "train longer (training.epochs, task.num_train)" in text


def test_a_search_that_has_learned_decides_as_ever(begin: Callable[..., Driver]) -> None:
    driver = begin(confirm=False)
    driver.reference("validation")
    driver.search(LEARNED)
    [decision] = decide(driver.ledger)
    assert decision.verdict is Verdict.CANNOT_TELL
    [winner] = winners_of(driver.ledger)
    assert winner.pruning_rate == 0.2


def test_without_a_reference_scores_alone_are_no_reason(begin: Callable[..., Driver]) -> None:
    driver = begin(confirm=False)
    driver.search(NOT_LEARNED)
    [decision] = decide(driver.ledger)
    assert decision.verdict is Verdict.CANNOT_TELL
    assert Grounds(driver.ledger).rows("validation") == ()


def test_a_confirmation_below_chance_decides_nothing_and_tests_nothing(
    begin: Callable[..., Driver],
) -> None:
    driver = begin()
    driver.search(LEARNED)
    driver.confirm(NOT_LEARNED)
    driver.reference("confirmation")
    [decision] = confirmed(driver.ledger)
    assert (decision.verdict, decision.recommended) == (ConfirmedVerdict.NOTHING, None)
    assert decision.reasons == (NOT_ABOVE,)
    found = confirmation_of(driver.ledger.record, driver.ledger)
    assert found is not None
    assert wanted_on_test(found, (decision,), driver.ledger.record) == {}
    assert stage_text(driver.ledger) == "stage: confirmation over, nothing to decide"
    # Of what was confirmed the search's hint is no substitute.
    [winner] = winners_of(driver.ledger)
    assert (winner.kind, winner.pruning_rate) == ("confirmed", None)
    assert "Confirmed: the same seeds" not in conclusion(driver.ledger)


def test_a_confirmation_that_has_learned_decides_and_is_tested(
    begin: Callable[..., Driver],
) -> None:
    driver = begin()
    driver.search(LEARNED)
    driver.confirm(LEARNED)
    driver.reference("confirmation")
    [decision] = confirmed(driver.ledger)
    assert decision.verdict is not ConfirmedVerdict.NOTHING
    assert decision.recommended is not None
    found = confirmation_of(driver.ledger.record, driver.ledger)
    assert found is not None
    assert wanted_on_test(found, (decision,), driver.ledger.record)


def test_the_same_answer_everywhere_decides_nothing(begin: Callable[..., Driver]) -> None:
    driver = begin()
    driver.search(LEARNED)
    driver.confirm(LEARNED, said="answer2")
    [decision] = confirmed(driver.ledger)
    assert decision.reasons == (
        'nearly all answers are the same in each of 6 runs: arc_easy is answered "answer2" 240 of '
        "240 times",
    )


def test_a_loss_that_still_falls_decides_nothing(begin: Callable[..., Driver]) -> None:
    driver = begin()
    late = {"train/late_pace": 0.9, "train/late_fall_low": 0.2}
    driver.search(LEARNED)
    driver.confirm(LEARNED, metrics=late)
    [decision] = confirmed(driver.ledger)
    assert decision.reasons == (
        "the loss still falls at the end of training in 6 of 6 runs, at 90% of its average pace, "
        "so that longer training would change the scores",
    )


def test_best_shows_the_references_and_json_has_them(
    begin: Callable[..., Driver], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    driver = begin()
    driver.search(LEARNED)
    driver.confirm(NOT_LEARNED)
    driver.reference("confirmation")
    driver.ledger.close()
    code, output, _ = call(capsys, "best", "s", "--storage", tmp_path)
    assert code == 0
    for label in ("untrained model", 'always "answer1"', "chance"):
        assert label in output
    assert f"arc_easy: nothing to decide: {NOT_ABOVE}" in output
    assert "exploratory, other parameters averaged out" not in output
    code, output, _ = call(capsys, "best", "s", "--json", "--storage", tmp_path)
    [found] = json.loads(output)["benchmarks"]
    assert (found["verdict"], found["reasons"]) == ("nothing to decide", [NOT_ABOVE])
    assert (found["pruning_rate"], found["trial"], found["setting"]) == (None, None, None)
    labels = [row["label"] for row in found["references"]]
    assert labels == ["untrained model", 'always "answer1"', "chance"]
    untrained, frequent, _ = found["references"]
    assert untrained["low"] < untrained["score"] == 0.25 < untrained["high"]
    assert (frequent["score"], frequent["low"]) == (0.25, None)


@pytest.mark.parametrize("words", [("register",), ("export", "--task", "arc_easy")])
def test_nothing_is_registered_or_exported_for_a_decision_about_nothing(
    begin: Callable[..., Driver],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
) -> None:
    driver = begin()
    driver.search(LEARNED)
    driver.confirm(NOT_LEARNED)
    driver.reference("confirmation")
    driver.ledger.close()
    command, *more = words
    output = ["--output", tmp_path / "out"] if command == "export" else []
    code, _, complaint = call(capsys, command, "s", *more, *output, "--storage", tmp_path)
    assert code == 1
    assert f"nothing to decide: {NOT_ABOVE}" in complaint
    assert not (tmp_path / "out").exists()


def test_the_reports_headline_is_no_check_mark(begin: Callable[..., Driver]) -> None:
    driver = begin()
    driver.search(LEARNED)
    driver.confirm(NOT_LEARNED)
    driver.reference("confirmation")
    page = make_report(facts_of(driver.ledger)).html
    assert "There is nothing to decide yet." in page
    assert "\u2714" not in page
    assert "No rate scores clearly above the untrained model (25.0%)" in page
    assert "<td" in page.split(">untrained model<")[1]
