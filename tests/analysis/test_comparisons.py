import math

from droplora_sweep.analysis.comparisons import choose_comparisons
from tests.analysis.test_search_decision import record


def rates(comparisons):
    return {one.subject: [arm.pruning_rate for arm in one.arms] for one in comparisons}


def test_each_benchmark_gets_its_own_candidates_in():
    records = [
        record(0, 0.0, choice=0.50, code=0.50),
        record(1, 0.2, choice=0.70, code=0.40),
        record(2, 0.5, choice=0.45, code=0.60),
        record(3, 0.4, choice=0.65, code=0.41),
    ]
    found = choose_comparisons(records, num_rates=2)
    assert rates(found) == {
        "choice": [0.0, 0.2, 0.4],
        "code": [0.0, 0.5, 0.4],
        "mean": [0.0, 0.2, 0.4],
    }
    assert {one.num_candidates for one in found} == {3}


def test_the_best_trial_of_a_rate_stands_for_it_and_ties_go_to_the_smaller_rank():
    records = [
        record(0, 0.0, choice=0.5),
        record(1, 0.2, rank=16, choice=0.6),
        record(2, 0.2, rank=4, choice=0.6),
        record(3, 0.22, choice=0.6),
        record(4, 0.3, choice=0.55),
    ]
    [found] = choose_comparisons(records)
    assert [arm.name for arm in found.arms] == [records[i].trial_id for i in (0, 2, 4)]


def test_the_best_unpruned_trial_is_always_an_arm_however_poor():
    records = [record(0, 0.0, choice=0.1), record(1, 0.0, choice=0.2), record(2, 0.4, choice=0.9)]
    [found] = choose_comparisons(records, num_rates=1)
    assert [arm.name for arm in found.arms] == [records[1].trial_id, records[2].trial_id]


def test_without_a_complete_unpruned_trial_the_best_setting_stands_in_without_its_pruning():
    records = [
        record(0, 0.0, "FAILED", choice=0.5),
        record(1, 0.2, choice=0.6),
        record(2, 0.4, choice=0.7),
    ]
    [found] = choose_comparisons(records)
    assert found.arms[0].name == f"{records[2].trial_id}@p=0"
    assert found.arms[0].pruning_rate == 0


def test_failed_stopped_and_unscored_trials_are_not_picked():
    records = [
        record(0, 0.0, choice=0.5),
        record(1, 0.2, "FAILED", choice=0.9),
        record(2, 0.3, "STOPPED", choice=0.9),
        record(3, 0.4, choice=math.nan),
        record(4, 0.5, choice=0.4),
    ]
    assert rates(choose_comparisons(records)) == {"choice": [0.0, 0.5]}


def test_nothing_pruned_leaves_nothing_to_confirm():
    assert choose_comparisons([record(0, 0.0, choice=0.5)]) == []
    assert choose_comparisons([]) == []
