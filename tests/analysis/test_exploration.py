import numpy as np
import pytest

from droplora_sweep.analysis.exploration import explore, marginal_text
from tests.analysis.test_search_decision import record


def searched(num_trials, generator, gain=0.1):
    """A search whose score rises with the rate and, more, with the rank; ranks follow rates."""
    records = []
    for number in range(num_trials):
        rate = float(generator.choice([0.0, 0.2, 0.4]))
        # Small rates are tried with large ranks, so that the best scores have rate 0.
        rank = int(generator.choice([16, 32] if rate == 0 else [4, 8, 16]))
        score = 0.5 + gain * rate + 0.06 * np.log2(rank / 8) + 0.01 * generator.standard_normal()
        records.append(record(number, rate, rank=rank, choice=float(score)))
    return records


def test_a_rate_is_judged_with_the_other_parameters_alike():
    """Raw means fall with the rate; with ranks alike they rise."""
    records = searched(40, np.random.default_rng(2), gain=0.2)
    raw = {
        rate: np.mean(
            [
                one.metrics["val/choice"]
                for one in records
                if one.spec["adapter"]["pruning_rate"] == rate
            ]
        )
        for rate in (0.0, 0.4)
    }
    [marginal] = explore(records)
    assert raw[0.0] > raw[0.4]
    assert [rate for rate, _ in marginal.points] == [0.0, 0.2, 0.4]
    first, _, last = (estimate for _, estimate in marginal.points)
    assert last.value - first.value == pytest.approx(0.08, abs=0.02)
    assert last.low < last.value < last.high
    assert first.high - first.low < 0.1


def test_the_text_says_that_it_is_exploratory():
    [marginal] = explore(searched(20, np.random.default_rng(2)))
    text = marginal_text(marginal)
    assert text.startswith("choice, exploratory, other parameters averaged out (20 trials): p = 0 ")
    assert text.count("; p = ") == 2


def test_too_few_trials_or_rates_say_so():
    [marginal] = explore([record(0, 0.0, choice=0.5), record(1, 0.2, choice=0.6)])
    assert marginal.points == ()
    assert marginal_text(marginal) == (
        "choice, exploratory, other parameters averaged out: needs 8 complete trials, got 2"
    )
    [marginal] = explore([record(number, 0.2, choice=0.5) for number in range(9)])
    assert marginal.reason == "needs 3 different pruning rates, got 1"


def test_scores_that_are_all_alike_have_a_marginal_too():
    records = [record(number, (number % 3) / 10, choice=0.5) for number in range(9)]
    [marginal] = explore(records)
    assert [estimate.value for _, estimate in marginal.points] == pytest.approx([0.5] * 3)


@pytest.mark.slow
def test_intervals_of_a_known_marginal_cover_it():
    """A weaker promise than a confirmed interval's: within 8 points of 95 %."""
    covered = []
    for draw in range(60):
        records = searched(24, np.random.default_rng(draw))
        ranks = np.log2([one.spec["adapter"]["rank"] / 8 for one in records]).mean()
        [marginal] = explore(records)
        covered += [
            estimate.low <= 0.5 + 0.1 * rate + 0.06 * ranks <= estimate.high
            for rate, estimate in marginal.points
        ]
    assert np.mean(covered) >= 0.87
