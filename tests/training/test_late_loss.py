"""Slope of the loss at the end of training: against known curves, and against scipy's slope."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import linregress
from scipy.stats import t as student

from droplora_sweep.training.position import LateLoss


def metrics_of(losses, epochs=1):
    late = LateLoss()
    for step, loss in enumerate(losses):
        late = late.plus(step, float(loss), len(losses), epochs)
    return late.metrics(len(losses), epochs)


def decaying(num_steps, constant, noise=0.0, seed=0):
    """From 2 towards 1, by a time constant that is a share of the training."""
    generator = np.random.default_rng(seed)
    times = (np.arange(num_steps) + 0.5) / num_steps
    return 1 + np.exp(-times / constant) + generator.normal(0, noise, num_steps)


def test_a_straight_line_falls_at_its_average_pace():
    found = metrics_of(np.linspace(3, 1, 40))
    assert found["train/late_pace"] == pytest.approx(1)
    assert found["train/late_fall"] == pytest.approx(20 * 2 / 39)
    assert found["train/late_fall_low"] == pytest.approx(found["train/late_fall"])


@pytest.mark.parametrize(("constant", "low", "high"), [(0.1, 0, 0.1), (0.25, 0.1, 0.4)])
def test_a_loss_that_has_levelled_off_has_a_low_pace(constant, low, high):
    assert low <= metrics_of(decaying(200, constant))["train/late_pace"] <= high


@pytest.mark.parametrize("constant", [0.5, 1, 3])
def test_a_loss_with_an_eighth_of_its_fall_to_come_has_a_pace_above_a_half(constant):
    assert math.exp(-1 / constant) >= 1 / 8
    assert metrics_of(decaying(200, constant))["train/late_pace"] >= 0.5


def test_the_slope_and_its_error_are_those_of_a_regression():
    losses = decaying(120, 0.5, noise=0.1)
    found = metrics_of(losses)
    fit = linregress(np.arange(60, 120), losses[60:])
    assert found["train/late_fall"] == pytest.approx(-fit.slope * 60)
    low = (-fit.slope - student.ppf(0.975, 58) * fit.stderr) * 60
    assert found["train/late_fall_low"] == pytest.approx(low)


def test_noise_around_a_level_is_rarely_a_fall():
    generator = np.random.default_rng(0)
    lows = [metrics_of(1 + generator.normal(0, 0.2, 40))["train/late_fall_low"] for _ in range(400)]
    share = sum(low > 0 for low in lows) / len(lows)
    assert share <= 0.025 + 3 * (0.025 * 0.975 / len(lows)) ** 0.5


def test_steps_between_epochs_are_no_progress():
    # Examples that are remembered: each epoch begins lower, and is level within.
    stairs = np.repeat([1.2, 0.9, 0.6], 40)
    found = metrics_of(stairs, epochs=3)
    assert found["train/late_fall"] == pytest.approx(0)
    assert found["train/late_pace"] == pytest.approx(0)
    # The last half of the same, taken for one epoch, would look like a fall.
    assert metrics_of(stairs, epochs=1)["train/late_pace"] > 0.5


def test_a_loss_that_never_fell_has_no_pace():
    assert metrics_of(np.linspace(1, 2, 40))["train/late_pace"] == 0


@pytest.mark.parametrize(("num_steps", "epochs"), [(1, 1), (7, 1), (12, 6)])
def test_too_few_steps_tell_nothing(num_steps, epochs):
    assert metrics_of(np.linspace(2, 1, num_steps), epochs) == {}


def test_before_the_end_and_without_the_first_losses_nothing_is_told():
    late = LateLoss()
    for step in range(39):
        late = late.plus(step, 1.0, 40, 1)
    assert late.metrics(40, 1) == {}
    resumed = LateLoss()
    for step in range(20, 40):
        resumed = resumed.plus(step, 1.0, 40, 1)
    assert resumed.metrics(40, 1) == {}
