"""A timed minute: short trials through the path of every trial, and nothing that stays."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from droplora_sweep.cli import main
from droplora_sweep.plan.costs.pace import Pace
from droplora_sweep.plan.plan import LearningRates, Plan
from droplora_sweep.present.contents.plan import knob_lines
from droplora_sweep.run.calibration import (
    Short,
    examples_to_time,
    read_off,
    shortened,
    steps_to_time,
)
from droplora_sweep.spec import (
    ConfirmSpec,
    EvaluationSpec,
    SweepSpec,
    TaskSpec,
    TrainingSpec,
    TrialSpec,
)

QUICKSTART = Path(__file__).parents[2] / "search_spaces" / "quickstart.yaml"
WARM = Short(3, train_s=6.0, evaluation_s=4.0, wall_s=31.0, num_tokens=300, peak_memory_bytes=2e9)
TIMED = Short(
    20, train_s=10.0, evaluation_s=4.0, wall_s=15.0, num_tokens=2000, peak_memory_bytes=1e9
)
PLAN = Plan(
    num_trials=12,
    num_confirmed=(9, 36),
    num_settings=None,
    num_groups=1,
    num_steps=(10, 20),
    num_confirm_steps=(10, 20),
    learning_rates=LearningRates((0, 0), (1e-4, 1e-4), (0.0, 0.0)),
    saved=None,
    splits={},
    queued=(),
)


def test_two_short_trials_give_the_pace() -> None:
    measured = read_off(WARM, TIMED, evaluated_share=0.25)

    assert (measured.pace.step_s, measured.pace.evaluation_s) == (0.5, 16.0)
    assert measured.pace.overhead_s == 1.0
    assert measured.pace.start_s == 31.0 - 6.0 - 4.0 - 1.0
    assert (measured.tokens_per_step, measured.peak_memory_bytes) == (100, 2e9)


def test_steps_fill_the_time_and_are_never_too_few() -> None:
    assert steps_to_time(WARM) == round(25 / 2)
    assert steps_to_time(Short(3, 300.0, 1.0, 310.0, 1.0, 1.0)) == 3


def test_examples_fill_the_time_within_bounds() -> None:
    # Four examples in 4 s; in 0.1 s; in 400 s.
    assert examples_to_time(WARM, 4) == 20
    assert examples_to_time(Short(3, 6.0, 0.1, 7.0, 1.0, 1.0), 4) == 64
    assert examples_to_time(Short(3, 6.0, 400.0, 410.0, 1.0, 1.0), 4) == 4


def test_what_costs_most_is_named_first_with_the_fields_that_make_it_less() -> None:
    sweep = SweepSpec(name="s", evaluation=EvaluationSpec(num_evaluations=4))
    pace = Pace(start_s=9, step_s=0.5, evaluation_s=10, overhead_s=1)
    evaluation, training, rest, confirmation = knob_lines(sweep, PLAN, pace)
    assert evaluation.startswith("78% of a trial is evaluation (4 times 10.0 s), 40.0 s: less with")
    assert "`evaluation.num_evaluations`, `task.num_validation`" in evaluation
    assert training.startswith("20% of a trial is training (20 steps), 10.0 s: less with `task.num")
    assert rest.startswith("2% of a trial is what comes beside them, 1.0 s")
    # A run of the confirmation takes 21 s, a trial of the search 51 s.
    assert confirmation.startswith("24% to 55% of the sweep is the confirmation: less with")
    assert "`search.num_trials`" in confirmation


def test_the_named_fields_exist() -> None:
    sweep = SweepSpec(name="s")
    pace = Pace(start_s=9, step_s=0.5, evaluation_s=10, overhead_s=1)
    text = " ".join(knob_lines(sweep, PLAN, pace))
    named = re.findall(r"`(\w+)\.(\w+)(?:: \w+)?`", text)
    assert len(named) > 8
    for section, field in named:
        spec = sweep.trial if section in ("task", "training", "evaluation", "adapter") else sweep
        assert field in type(getattr(spec, section) or ConfirmSpec()).model_fields


def test_a_short_trial_has_data_for_its_steps_and_one_evaluation() -> None:
    trial = TrialSpec(training=TrainingSpec(global_batch_size=16, epochs=3))
    short = shortened(trial, num_steps=6, num_sources=3)

    assert short.task.num_train == 6 * 16 // 3
    assert (short.training.epochs, short.evaluation.num_evaluations) == (1, 1)
    assert (trial.task.num_validation, short.task.num_validation) == (200, 64)
    assert short.adapter == trial.adapter


def test_little_data_is_passed_over_more_than_once() -> None:
    trial = TrialSpec(
        task=TaskSpec(num_train=16, num_validation=8),
        training=TrainingSpec(global_batch_size=16),
    )
    short = shortened(trial, num_steps=12, num_sources=3)

    assert (short.task.num_train, short.training.epochs) == (16, 4)
    assert short.task.num_validation == 8


@pytest.mark.slow
@pytest.mark.ray
def test_a_group_is_timed_and_nothing_is_left(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    settings = ["task.num_train=32", "task.num_validation=8", f"storage={tmp_path / 'results'}"]
    with pytest.raises(SystemExit) as ended:
        main(
            ["plan", str(QUICKSTART), "--calibrate", "--address", "local"]
            + [part for setting in settings for part in ("--set", setting)]
        )

    output = capfd.readouterr().out
    assert not ended.value.code, output
    measured = re.search(r"measured on one group: ([\d.e-]+) s per step of [\d,]+ tokens", output)
    assert measured is not None, output
    assert float(measured[1]) > 0
    assert "all 12 trials on" in output
    assert "% of a trial is " in output
    assert not (tmp_path / "results").exists()
    log = re.search(r"library logs: (\S+)", output)
    assert log is not None
    assert not Path(log[1]).exists()
