import math
from dataclasses import dataclass, field

import numpy as np
import pytest

from droplora_sweep.analysis.search_decision import Verdict, best_per_benchmark
from droplora_sweep.analysis.text import decision_text, decisions_text
from droplora_sweep.errors import SweepError
from droplora_sweep.spec import AdapterSpec, TaskSpec, TrialSpec
from droplora_sweep.spec.metric_names import MEAN


@dataclass
class Record:
    number: int
    spec: dict
    metrics: dict
    state: str = "COMPLETE"
    trial_id: str = field(init=False)

    def __post_init__(self):
        self.trial_id = f"t{self.number:04d}-0000000{self.number % 10}"


def record(number, pruning_rate, state="COMPLETE", rank=8, adapter=None, **scores):
    spec = TrialSpec(
        adapter=AdapterSpec(rank=rank, pruning_rate=pruning_rate, **(adapter or {})),
        task=TaskSpec(benchmarks=tuple(scores)),
    )
    metrics = {f"val/{name}": score for name, score in scores.items()}
    return Record(number, spec.model_dump(mode="json"), metrics, state)


def answers(num_correct, num_examples=100):
    """The first ``num_correct`` of the examples right: differences are all gains or all losses."""
    return {f"e{index}": index < num_correct for index in range(num_examples)}


def results_of(records, num_examples=100):
    return {
        one.trial_id: {
            name.removeprefix("val/"): answers(round(score * num_examples), num_examples)
            for name, score in one.metrics.items()
        }
        for one in records
    }.get


def test_each_benchmark_and_the_mean_have_their_own_best():
    records = [
        record(0, 0.0, choice=0.50, code=0.50),
        record(1, 0.2, choice=0.70, code=0.40),
        record(2, 0.5, choice=0.55, code=0.60),
    ]
    decisions = best_per_benchmark(records, results_of(records))
    found = {one.benchmark: (one.best.pruning_rate, one.best.score) for one in decisions}
    assert found == {"choice": (0.2, 0.7), "code": (0.5, 0.6), MEAN: (0.5, pytest.approx(0.575))}


def test_a_single_benchmark_needs_no_mean():
    assert [one.benchmark for one in best_per_benchmark([record(0, 0.0, choice=0.5)])] == ["choice"]


def test_a_clear_gain_is_better_and_a_clear_loss_is_worse():
    records = [record(0, 0.0, choice=0.60), record(1, 0.2, choice=0.80)]
    [decision] = best_per_benchmark(records, results_of(records))
    assert decision.verdict is Verdict.BETTER
    assert decision.paired_test.difference.value == pytest.approx(0.2)
    assert decision.paired_test.difference.low > 0.1
    records = [record(0, 0.0, choice=0.80), record(1, 0.2, choice=0.60)]
    [decision] = best_per_benchmark(records, results_of(records))
    assert decision.verdict is Verdict.WORSE
    assert decision.best.pruning_rate == 0
    assert decision.pruned.score == 0.6


def test_a_small_difference_cannot_be_told():
    records = [record(0, 0.0, choice=0.60), record(1, 0.2, choice=0.63)]
    [decision] = best_per_benchmark(records, results_of(records))
    assert decision.best.pruning_rate == 0.2
    assert decision.verdict is Verdict.CANNOT_TELL


def test_the_best_of_many_needs_more_evidence_than_one():
    """Seven gains and no loss: p = 0.016 for one trial, 0.16 for the best of ten."""
    pair = [record(0, 0.0, choice=0.60), record(1, 0.2, choice=0.67)]
    [alone] = best_per_benchmark(pair, results_of(pair))
    assert alone.verdict is Verdict.BETTER
    crowd = pair + [record(number, 0.3, choice=0.5) for number in range(2, 11)]
    [among_ten] = best_per_benchmark(crowd, results_of(crowd))
    assert among_ten.paired_test.p_value == alone.paired_test.p_value == pytest.approx(2 / 2**7)
    assert among_ten.paired_test.num_compared == 10
    assert among_ten.verdict is Verdict.CANNOT_TELL


def test_trials_that_did_not_train_to_the_end_are_counted_but_not_chosen():
    records = [
        record(0, 0.0, choice=0.5),
        record(1, 0.2, choice=0.6),
        record(2, 0.2, "STOPPED", choice=0.9),
        record(3, 0.4, "FAILED", choice=0.9),
        record(4, 0.4, "RUNNING", choice=0.9),
    ]
    [decision] = best_per_benchmark(records)
    assert decision.best.number == 1
    rows = [
        (
            row.pruning_rate,
            row.best and row.best.number,
            row.num_complete,
            row.num_stopped,
            row.num_failed,
        )
        for row in decision.rates
    ]
    assert rows == [(0.0, 0, 1, 0, 0), (0.2, 1, 1, 1, 0), (0.4, None, 0, 0, 1)]


def test_equal_scores_go_to_the_smaller_pruning_rate_then_rank_then_number():
    records = [
        record(0, 0.3, rank=4, choice=0.5),
        record(1, 0.1, rank=16, choice=0.5),
        record(2, 0.1, rank=8, choice=0.5),
        record(3, 0.1, rank=8, choice=0.5),
    ]
    [decision] = best_per_benchmark(records)
    assert decision.best.number == 2


def test_rates_of_a_range_s_steps_are_one_rate():
    records = [record(0, 0.1 + 0.2, choice=0.5), record(1, 0.3, choice=0.6)]
    [decision] = best_per_benchmark(records)
    assert [(row.pruning_rate, row.num_complete) for row in decision.rates] == [(0.3, 2)]


def test_nan_is_no_score_and_never_wins():
    records = [
        record(0, 0.0, choice=0.5, code=0.5),
        record(1, 0.2, choice=math.nan, code=0.6),
        record(2, 0.4, choice=math.nan, code=0.4),
    ]
    by_name = {one.benchmark: one for one in best_per_benchmark(records, results_of(records[:1]))}
    assert by_name["choice"].best.number == 0
    assert by_name["choice"].verdict is Verdict.NO_PRUNED
    assert by_name["code"].best.number == 1
    assert by_name[MEAN].best.number == 0


def test_a_benchmark_without_any_score_says_so():
    [decision] = best_per_benchmark([record(0, 0.0, choice=math.nan)])
    assert decision.best is None
    assert decision_text(decision) == "choice: no complete trial has a score"


def test_without_baseline_or_results_nothing_is_compared():
    [decision] = best_per_benchmark([record(0, 0.2, choice=0.5)])
    assert decision.verdict is Verdict.NO_BASELINE
    [decision] = best_per_benchmark([record(0, 0.0, choice=0.5), record(1, 0.2, choice=0.9)])
    assert decision.verdict is Verdict.NOT_PAIRED
    assert decision.best.estimate is None


def test_trials_scored_on_other_examples_are_not_compared():
    records = [record(0, 0.0, choice=0.5), record(1, 0.2, choice=0.9)]
    results = {
        records[0].trial_id: {"choice": answers(50, 100)},
        records[1].trial_id: {"choice": answers(180, 200)},
    }
    [decision] = best_per_benchmark(records, results.get)
    assert decision.verdict is Verdict.NOT_PAIRED


@pytest.mark.parametrize(
    ("records", "found"),
    [
        ([], "none"),
        (
            [record(0, 0.1, "FAILED", choice=0.5), record(1, 0.1, "STOPPED", choice=0.5)],
            "1 failed, 1 stopped",
        ),
    ],
)
def test_a_sweep_without_complete_trials_is_refused(records, found):
    with pytest.raises(SweepError) as caught:
        best_per_benchmark(records)
    message = (
        f"no pruning rate can be chosen yet: no trial that has one is complete (trials: {found})"
    )
    assert str(caught.value) == message


def test_the_text_says_all_there_is_to_know():
    records = [
        record(0, 0.0, choice=0.60),
        record(1, 0.2, choice=0.63),
        record(2, 0.3, choice=0.61),
    ]
    text = decisions_text(best_per_benchmark(records, results_of(records)), "strict")
    assert "\nScores are by the strict protocol.\n" in text
    decision, _, caveat = text.splitlines()
    assert decision == (
        "choice: best is p = 0.2 (t0001-00000001, rank 8) with 63.0% [53.2%, 71.8%]; "
        "best without pruning is p = 0 (t0000-00000000, rank 8) with 60.0% [50.2%, 69.1%]; "
        "difference +3.0 points [-1.3, +7.2], p-value 0.25, "
        "0.5 after correction for the choice among 2 trials; cannot tell p = 0.2 from p = 0"
    )
    assert caveat.startswith("Exploratory: ")


@pytest.mark.slow
def test_sweeps_without_any_effect_seldom_claim_one():
    """Ten pruned trials against two baselines, all equally good: at most 5 % may find a winner."""
    generator = np.random.default_rng(4)
    num_examples, verdicts = 200, []
    for _ in range(300):
        results, records = {}, []
        hard = generator.random(num_examples) < 0.4
        for number in range(12):
            right = np.where(generator.random(num_examples) < 0.15, ~hard, hard)
            one = record(number, 0.0 if number < 2 else 0.2, choice=float(right.mean()))
            one.trial_id = f"trial {number}"
            records.append(one)
            results[one.trial_id] = {"choice": dict(enumerate(right.tolist()))}
        [decision] = best_per_benchmark(records, results.get)
        verdicts.append(decision.verdict)
    assert verdicts.count(Verdict.CANNOT_TELL) >= 0.95 * len(verdicts)


def test_full_fine_tuning_has_no_pruning_rate_to_choose():
    full = {"adapter": {"method": "full"}}
    records = [record(0, 0.0, choice=0.9, **full), record(1, 0.2, choice=0.5)]
    (decision,) = best_per_benchmark(records, results_of(records))
    assert decision.best.trial_id == records[1].trial_id
    assert decision.unpruned is None
    assert [row.pruning_rate for row in decision.rates] == [0.2]
    with pytest.raises(SweepError, match="no trial that has one is complete"):
        best_per_benchmark(records[:1])


def test_a_trial_pruned_in_some_modules_is_pruned():
    records = [
        record(0, 0.0, choice=0.5),
        record(1, 0.0, choice=0.6, adapter={"module_pruning_rates": {"q_proj": 0.3}}),
    ]
    (decision,) = best_per_benchmark(records, results_of(records))
    assert decision.pruned.pruning_rate == 0.3
    assert decision.unpruned.trial_id == records[0].trial_id


def test_a_method_other_than_lora_is_named():
    records = [
        record(0, 0.0, choice=0.5),
        record(1, 0.2, choice=0.6, adapter={"method": "dora"}),
    ]
    text = decision_text(best_per_benchmark(records, results_of(records))[0])
    assert f"({records[1].trial_id}, dora, rank 8)" in text
    assert f"({records[0].trial_id}, rank 8)" in text


def test_graded_scores_take_part_like_right_and_wrong_ones():
    records = [record(0, 0.0, chat=0.60), record(1, 0.2, chat=0.72)]
    results = {
        one.trial_id: {
            "chat": {f"e{n}": one.metrics["val/chat"] + n % 3 / 20 - 0.05 for n in range(30)}
        }
        for one in records
    }
    results[records[1].trial_id]["chat"]["e0"] = None
    [decision] = best_per_benchmark(records, results.get)
    assert decision.verdict is Verdict.BETTER
    assert decision.paired_test.difference.value == pytest.approx(0.12)
    assert decision.best.estimate.low < 0.72 < decision.best.estimate.high
