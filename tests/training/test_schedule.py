from __future__ import annotations

import pytest
import torch
from transformers import TrainingArguments, get_linear_schedule_with_warmup, get_scheduler

from droplora_sweep.spec.trial import TrainingSpec
from droplora_sweep.training.schedule import (
    evaluation_steps,
    learning_rate,
    num_steps,
    warmup_steps,
)


@pytest.mark.parametrize(
    ("num_examples", "global_batch_size", "epochs", "expected"),
    [(128, 128, 3, 3), (129, 128, 3, 6), (100, 128, 1, 1), (256, 128, 2, 4), (1, 1, 1, 1)],
)
def test_every_example_is_seen_once_per_epoch(
    num_examples: int, global_batch_size: int, epochs: int, expected: int
) -> None:
    training = TrainingSpec(global_batch_size=global_batch_size, epochs=epochs)
    assert num_steps(num_examples, training) == expected


@pytest.mark.parametrize(
    ("steps", "evaluations", "expected"),
    [
        (9, 3, (3, 6, 9)),
        (10, 3, (3, 6, 10)),
        (2, 5, (1, 2)),
        (7, 1, (7,)),
        (100, 4, (25, 50, 75, 100)),
    ],
)
def test_evaluations_are_evenly_spaced_and_the_last_is_at_the_end(
    steps: int, evaluations: int, expected: tuple[int, ...]
) -> None:
    assert evaluation_steps(steps, evaluations) == expected


@pytest.mark.parametrize("given", [0, 1, 4, 9])
def test_the_learning_rate_is_that_of_the_papers_trainer(given: int) -> None:
    training = TrainingSpec(learning_rate=3e-4, warmup_steps=given)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=3e-4)
    reference = get_linear_schedule_with_warmup(optimizer, given, 10)
    for step in range(10):
        assert learning_rate(step, 10, training) == pytest.approx(reference.get_last_lr()[0])
        optimizer.step()
        reference.step()


@pytest.mark.parametrize("num_steps", [2, 7, 50])
@pytest.mark.parametrize("ratio", [0.0, 0.03, 0.3])
@pytest.mark.parametrize(
    ("schedule", "theirs"),
    [("linear", "linear"), ("constant", "constant_with_warmup"), ("cosine", "cosine")],
)
def test_every_schedule_is_that_of_transformers(
    schedule: str, theirs: str, ratio: float, num_steps: int
) -> None:
    training = TrainingSpec(learning_rate=2e-4, warmup_ratio=ratio, learning_rate_schedule=schedule)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2e-4)
    reference = get_scheduler(theirs, optimizer, warmup_steps(num_steps, training), num_steps)
    for step in range(num_steps):
        expected = reference.get_last_lr()[0]
        assert learning_rate(step, num_steps, training) == pytest.approx(expected, abs=1e-12)
        optimizer.step()
        reference.step()


@pytest.mark.parametrize("num_steps", [1, 2, 3, 33, 34, 66, 67, 100, 3462])
@pytest.mark.parametrize("ratio", [0.0, 0.01, 0.03, 0.07, 0.1, 0.5])
def test_a_share_warms_up_as_many_steps_as_in_transformers(num_steps: int, ratio: float) -> None:
    arguments = TrainingArguments(output_dir="unused", warmup_steps=ratio, use_cpu=True)
    training = TrainingSpec(warmup_ratio=ratio)
    # A step is left for the peak, where transformers' trial of one step would only warm up.
    expected = min(arguments.get_warmup_steps(num_steps), num_steps - 1)
    assert warmup_steps(num_steps, training) == expected


def test_the_papers_trials_warm_up_for_about_as_long_by_default() -> None:
    assert warmup_steps(3462, TrainingSpec()) == 104


@pytest.mark.parametrize("num_steps", [1, 2, 3, 72, 99, 100, 101, 4000])
@pytest.mark.parametrize(
    "warmup",
    [
        {},
        {"warmup_ratio": 0.99},
        {"warmup_steps": 100},
        {"warmup_steps": 10_000},
        {"learning_rate_schedule": "constant"},
        {"learning_rate_schedule": "cosine"},
    ],
)
def test_every_trial_reaches_its_peak_learning_rate(
    num_steps: int, warmup: dict[str, float]
) -> None:
    training = TrainingSpec(learning_rate=3e-4, **warmup)
    rates = [learning_rate(step, num_steps, training) for step in range(num_steps)]
    assert max(rates) == 3e-4
    assert rates[-1] > 0
