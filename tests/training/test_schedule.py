from __future__ import annotations

import pytest
import torch
from transformers import get_linear_schedule_with_warmup

from droplora_sweep.spec.trial import TrainingSpec
from droplora_sweep.training import evaluation_steps, learning_rate, num_steps


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


@pytest.mark.parametrize("warmup_steps", [0, 1, 4, 10, 15])
def test_the_learning_rate_is_that_of_the_papers_trainer(warmup_steps: int) -> None:
    training = TrainingSpec(learning_rate=3e-4, warmup_steps=warmup_steps)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=3e-4)
    reference = get_linear_schedule_with_warmup(optimizer, warmup_steps, 10)
    for step in range(10):
        assert learning_rate(step, 10, training) == pytest.approx(reference.get_last_lr()[0])
        optimizer.step()
        reference.step()
