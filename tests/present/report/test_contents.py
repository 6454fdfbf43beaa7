"""The data of figures, before they are drawn."""

import math
from dataclasses import replace

import pytest

from droplora_sweep.present.contents.coordinates import coordinates
from droplora_sweep.present.contents.costs import costs, measures_table
from droplora_sweep.present.contents.importance import importance
from droplora_sweep.present.contents.learning import RungPanel, curve_panels, rungs
from droplora_sweep.present.contents.rates import rank_panels, rate_panels

from .conftest import START, Sweep, confirm


def test_the_mean_is_the_first_panel_and_a_single_benchmark_the_only_one(searched_facts):
    assert [panel.subject for panel in rate_panels(searched_facts)] == ["mean", "arc", "gsm"]
    alone = Sweep(benchmarks=("arc",))
    alone.trial(0.2)
    assert [panel.subject for panel in rate_panels(alone.facts())] == ["arc"]


def test_a_rate_is_shown_by_its_best_complete_trial_with_an_interval(sweep):
    sweep.trial(0.0, 0.4)
    sweep.trial(0.2, 0.5)
    sweep.trial(0.2, 0.6)
    sweep.trial(0.2, 0.9, state="STOPPED")
    panel = rate_panels(sweep.facts())[1]
    assert [(point.x, point.score) for point in panel.points] == [(0, 0.4), (0.2, 0.6)]
    assert panel.baseline == panel.points[0]
    for point in panel.points:
        assert point.estimate.low < point.score < point.estimate.high
    assert sorted(panel.trials) == [(0.0, 0.4), (0.2, 0.5), (0.2, 0.6)]
    assert not panel.is_confirmed
    assert panel.alt.startswith("arc, best score of each pruning rate: p = 0: 40.0% (interval ")


def test_confirmed_rates_replace_the_searchs(searched_facts):
    decision = confirm({0.0: 0.5, 0.2: 0.7})
    facts = replace(searched_facts, confirmed=(decision,))
    panels = {panel.subject: panel for panel in rate_panels(facts)}
    panel = panels["arc"]
    assert panel.is_confirmed
    assert [point.x for point in panel.points] == [0, 0.2]
    assert panel.points[1].estimate == decision.rates[1].mean
    assert panel.marginal == ()
    assert len(panel.trials) == 12
    assert not panels["gsm"].is_confirmed
    assert "confirmed mean" in panel.alt


def test_a_sweep_without_p_0_has_no_line(sweep):
    sweep.trial(0.2)
    assert rate_panels(sweep.facts())[0].baseline is None


def test_a_rank_is_shown_by_its_best_trial_with_and_without_pruning(sweep):
    for rate, rank, score in ((0, 8, 0.4), (0, 16, 0.5), (0.2, 8, 0.3), (0.4, 8, 0.6)):
        sweep.trial(rate, score, rank)
    sweep.trial(0.2, 0.9, 16, method="full")
    [(lora, plain), (droplora, pruned)] = sorted(rank_panels(sweep.facts())[0].series, reverse=True)
    assert (lora, droplora) == ("LoRA (p = 0)", "DropLoRA (p > 0)")
    assert [(point.x, point.score) for point in plain] == [(8, 0.4), (16, 0.5)]
    assert [(point.x, point.trial_id[:5]) for point in pruned] == [(8, "t0003")]
    assert pruned[0].estimate.low < 0.6 < pruned[0].estimate.high


def test_ranks_are_not_compared_where_only_one_was_tried(sweep):
    sweep.trial(0.0)
    sweep.trial(0.2)
    assert rank_panels(sweep.facts()) == ()


def test_a_line_crosses_each_axis_at_its_value(sweep):
    sweep.trial(0.0, 0.4, 8, params={"adapter.mask": "token"})
    sweep.trial(0.5, 0.6, 16, params={"adapter.mask": "step", "training.learning_rate": 1e-3})
    sweep.trial(1.0 / 4, 0.5, 12, state="STOPPED", params={"training.learning_rate": 1e-1})
    found = coordinates(sweep.facts())
    assert [axis.name for axis in found.axes] == [
        "adapter.rank",
        "adapter.pruning_rate",
        "adapter.mask",
        "training.learning_rate",
        "val/mean",
    ]
    heights = {line.trial_id[:5]: line.heights for line in found.lines}
    assert heights["t0000"] == (0, 0, 1, None, 0)
    assert heights["t0001"] == (1, 1, 0, 0, 1)
    assert heights["t0002"] == pytest.approx((0.5, 0.5, None, 1, 0.5), abs=1e-9)
    assert [line.is_complete for line in found.lines] == [True, False, True]
    assert found.axes[3].ticks[0] == (0, "0.001")
    assert "best complete trial is t0001" in found.alt


@pytest.mark.parametrize("num_trials", [0, 1])
def test_lines_need_two_trials_with_scores(sweep, num_trials):
    for _ in range(num_trials):
        sweep.trial()
    sweep.trial(score=None, state="FAILED", num_reports=0)
    sweep.trial(score=(math.nan, 0.5))
    assert coordinates(sweep.facts()) is None


def test_the_parameter_that_the_score_follows_is_the_most_important(searched_facts):
    found = importance(searched_facts)
    assert found.reason == ""
    assert found.shares[0].name == "adapter.pruning_rate"
    assert math.fsum(share.value for share in found.shares) == pytest.approx(1)
    for share in found.shares:
        assert 0 <= share.low <= share.high <= 1
    assert found.num_trials == 12


def test_importance_says_why_there_is_none(sweep):
    for _ in range(9):
        sweep.trial(0.2, 0.5)
    assert importance(sweep.facts()).reason == "needs 10 trials that trained equally long, got 9"
    sweep.trial(0.2, 0.5)
    assert importance(sweep.facts()).reason == "all 10 trials have the same score"
    sweep.trial(0.4, 0.6)
    assert importance(sweep.facts()).reason == "needs two parameters that vary"


@pytest.mark.slow
def test_importance_compares_trials_that_were_trained_equally_long(sweep):
    for index in range(12):
        num_reports = 3 if index < 4 else 1
        state = "COMPLETE" if index < 4 else "STOPPED"
        sweep.trial(0.2 * (index % 2), 0.3 + 0.05 * index, 2 + index, state, num_reports)
    found = importance(sweep.facts())
    assert (found.subject, found.num_trials) == ("mean at evaluation 1", 12)


@pytest.mark.slow
def test_a_parameter_that_some_trials_lack_counts_too(sweep):
    for index in range(12):
        params = {"adapter.mask": "token"} if index % 2 else {}
        sweep.trial(0.0, 0.8 if index % 2 else 0.2, 4 + index % 3, params=params)
    assert importance(sweep.facts()).shares[0].name == "adapter.mask"


def test_curves_tell_pruned_stopped_and_best_trials_apart(sweep):
    best = sweep.trial(0.2, 0.9)
    sweep.trial(0.0, 0.5, state="STOPPED", num_reports=1)
    score, loss = curve_panels(sweep.facts())
    assert (score.metric, loss.metric) == ("val/mean", "train/loss")
    assert [(curve.is_best, curve.is_pruned, curve.is_complete) for curve in score.curves] == [
        (True, True, True),
        (False, False, False),
    ]
    assert [step for step, _ in score.curves[0].points] == [10, 20, 30]
    assert best.trial_id in score.alt


def test_a_curve_leaves_out_what_is_not_finite(sweep):
    trial = sweep.trial()
    broken = replace(trial.evaluations[1], metrics={"val/mean": math.nan})
    sweep.trials[0] = replace(
        trial, evaluations=(trial.evaluations[0], broken, trial.evaluations[2])
    )
    score = curve_panels(sweep.facts())[0]
    assert [step for step, _ in score.curves[0].points] == [10, 30]


def test_rungs_count_what_became_of_trials(sweep):
    sweep.trial()
    sweep.trial(state="STOPPED", num_reports=1)
    sweep.trial(state="FAILED", num_reports=2)
    sweep.trial(state="RUNNING", num_reports=2)
    sweep.trial(state="FAILED", num_reports=0)
    found = rungs(sweep.facts())
    counts = [(one.num_reached, one.num_stopped, one.num_failed, one.num_running) for one in found]
    assert counts == [(4, 1, 0, 0), (3, 0, 1, 1), (1, 0, 0, 0)]
    assert [one.num_going_on for one in found] == [3, 1, 1]
    assert RungPanel(found).alt.startswith("Evaluation 1: 4 trials reached it, 1 were stopped")


def test_costs_count_every_worker_of_every_trial_that_was_trained():
    sweep = Sweep(group={"num_workers": 4, "gpus_per_worker": 1})
    sweep.trial()
    sweep.trial(origin="earlier/t0000-00000000")
    sweep.trial(state="RUNNING", num_reports=1)
    sweep.outcome = None
    found = costs(sweep.facts())
    assert [span.trial_id[:5] for span in found.spans] == ["t0000", "t0002"]
    assert found.trial_h * 60 == pytest.approx(1 + 10 / 60)
    assert found.worker_h == found.gpu_h == pytest.approx(4 * found.trial_h)
    assert found.elapsed_h * 60 == pytest.approx(2 + 10 / 60)
    [measure] = measures_table(sweep.record).rows
    assert [cell.text for cell in measure.cells] == ["training", "40.0", "40.0", "40.0", "s"]
    assert measure.cells[1].value == 40


def test_without_gpus_no_gpu_hours_are_claimed(sweep):
    sweep.trial()
    assert costs(sweep.facts()).gpu_h is None


def test_an_empty_sweep_has_nothing_to_draw(sweep):
    facts = sweep.facts()
    assert facts.undecided.startswith("no pruning rate can be chosen yet: no trial")
    assert (rate_panels(facts), rank_panels(facts), curve_panels(facts)) == ((), (), ())
    assert coordinates(facts) is None
    assert (rungs(facts), costs(facts).spans, facts.as_of) == ((), (), START)
