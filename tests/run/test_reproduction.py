"""A trial that was run again is the same, scores the same, or differs: and then it is said how."""

from __future__ import annotations

from dataclasses import replace

import pytest

from droplora_sweep.run.rerunning import (
    RerunOutcome,
    Run,
    changed_circumstances,
    compare,
    workers_of,
)
from droplora_sweep.spec import fingerprint
from droplora_sweep.storage.file_set import FileFacts, FileSet
from tests.ledger.conftest import driver, make_driver

__all__ = ["driver", "make_driver"]

SCORES = {"choice": {"e1": 1.0, "e2": 0.0}}


def left(digest: str) -> FileSet:
    return FileSet("/results/adapter", {"weights": FileFacts(1, digest)})


BEFORE = Run(left("1"), SCORES)


def test_the_same_bytes() -> None:
    found = compare(BEFORE, BEFORE, ())
    assert (found.outcome, found.details) == (RerunOutcome.SAME_BYTES, ())
    assert found.is_success


def test_the_same_scores_by_other_weights() -> None:
    found = compare(BEFORE, replace(BEFORE, files=left("2")), (), farthest=2.5e-7)
    assert found.outcome is RerunOutcome.SAME_SCORES
    assert found.details == (
        "weights: other bytes",
        "weights: the largest difference of any is 2.5e-07",
    )
    assert found.is_success


def test_other_scores_with_what_was_otherwise() -> None:
    now = Run(left("1"), {"choice": {"e1": 1.0, "e2": 1.0}})
    found = compare(BEFORE, now, ["version of torch: then 1, now 2"])
    assert found.outcome is RerunOutcome.DIFFERENT
    assert not found.is_success
    assert found.details == (
        "choice: 1 of 2 examples have another score; mean 0.5000 then, 1.0000 now",
    )
    assert found.circumstances == ("version of torch: then 1, now 2",)


@pytest.mark.parametrize(
    ("before", "now", "outcome"),
    [
        ("loss is nan", "loss is nan", RerunOutcome.SAME_FAILURE),
        ("loss is nan", None, RerunOutcome.DIFFERENT),
    ],
)
def test_a_failed_trial(before: str, now: str | None, outcome: RerunOutcome) -> None:
    assert compare(Run(None, {}, before), Run(None, {}, now), ()).outcome is outcome


def test_one_that_was_stopped_without_an_adapter_is_compared_by_its_scores() -> None:
    found = compare(Run(None, SCORES), BEFORE, ())
    assert found.outcome is RerunOutcome.SAME_SCORES
    assert found.details == ("the trial left no adapter, so only scores are compared",)


def test_the_fingerprint_tells_how_many_workers_there_were(driver) -> None:
    record = driver.ledger.record
    trial = driver.ledger.trial(driver.run(0))
    spec = driver.sweep.trial
    digest = fingerprint(spec, record.data_digests, record.versions, num_workers=3)
    assert workers_of(replace(trial, fingerprint=digest), spec, record) == 3
    assert workers_of(replace(trial, fingerprint="f" * 64), spec, record) is None


def test_what_is_otherwise_now_is_named(driver) -> None:
    record = driver.ledger.record
    trial = replace(driver.ledger.trial(driver.run(0)), adjusted={"training.micro_batch_size": 4})
    data = {**record.data_digests, "choice/train": "ef" * 32}
    assert changed_circumstances(trial, record, data, {"torch": "2.14.0"}) == [
        "version of torch: then 2.13.0, now 2.14.0",
        f"data of choice/train: then {'ab' * 32}, now {'ef' * 32}",
        "training.micro_batch_size: then lowered to 4 when memory ran out, now 4 from the first "
        "step",
    ]


def flipped(num_better: int, num_worse: int) -> tuple[Run, Run]:
    """Two runs of 200 examples, of which so many are right in the second alone, or in the first."""
    before = {f"e{index}": float(index % 2) for index in range(200)}
    wrong = [name for name, score in before.items() if score == 0]
    right = [name for name, score in before.items() if score == 1]
    now = before | dict.fromkeys(wrong[:num_better], 1.0) | dict.fromkeys(right[:num_worse], 0.0)
    return Run(left("1"), {"choice": before}), Run(left("2"), {"choice": now})


@pytest.mark.parametrize(
    ("num_better", "num_worse", "may_round", "outcome"),
    [
        (3, 4, True, RerunOutcome.CLOSE),
        (3, 4, False, RerunOutcome.DIFFERENT),
        (0, 12, True, RerunOutcome.DIFFERENT),
        (0, 0, True, RerunOutcome.SAME_SCORES),
    ],
)
def test_roundings_change_as_many_answers_for_the_better_as_for_the_worse(
    num_better: int, num_worse: int, *, may_round: bool, outcome: RerunOutcome
) -> None:
    found = compare(*flipped(num_better, num_worse), (), may_round=may_round)
    assert found.outcome is outcome
    assert found.is_success is (outcome is not RerunOutcome.DIFFERENT)


def test_examples_that_are_missing_are_no_rounding() -> None:
    before, now = flipped(0, 0)
    fewer = replace(now, scores={"choice": dict(list(now.scores["choice"].items())[1:])})
    assert compare(before, fewer, (), may_round=True).outcome is RerunOutcome.DIFFERENT
