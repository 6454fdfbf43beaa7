import numpy as np
import pytest

from droplora_sweep.analysis.evidence import Arm, Run, tabulate

PLAIN, PRUNED = Arm("t0001", 0.0), Arm("t0000", 0.2)


def test_runs_are_put_side_by_side_by_rate_seed_and_example():
    table = tabulate(
        [
            Run(PRUNED, 8, {"choice": {"b": 0.25, "a": 1}}),
            Run(PLAIN, 8, {"choice": {"a": 0, "b": 1}}),
            Run(PRUNED, 7, {"choice": {"a": 0.5, "b": 0.75}}),
            Run(PLAIN, 7, {"choice": {"a": 1, "b": 1}}),
        ]
    )
    assert (table.arms, table.seeds, list(table.scores)) == ((PLAIN, PRUNED), (7, 8), ["choice"])
    expected = [[[1, 1], [1, 0]], [[0.75, 0.5], [0.25, 1]]]
    np.testing.assert_array_equal(table.scores["choice"], expected)


def test_what_is_missing_is_nan():
    table = tabulate(
        [
            Run(PLAIN, 7, {"choice": {"a": 1, "b": None}, "code": {"c": 1}}),
            Run(PLAIN, 8, {"choice": {"a": 1, "b": 1}}),
            Run(PRUNED, 7, {"choice": {"b": 0}, "code": {"c": 0}}),
        ]
    )
    assert list(table.scores) == ["choice", "code"]
    nan = np.nan
    expected = [[[1, nan], [1, 1]], [[nan, 0], [nan, nan]]]
    np.testing.assert_array_equal(table.scores["choice"], expected)
    np.testing.assert_array_equal(table.scores["code"], [[[1], [nan]], [[0], [nan]]])
    assert len(table.parts("mean")) == 2


def test_a_table_of_some_arms_keeps_its_seeds():
    table = tabulate([Run(arm, 7, {"choice": {"a": 1}}) for arm in (PLAIN, PRUNED)])
    alone = table.restricted_to([PRUNED])
    assert (alone.arms, alone.seeds) == ((PRUNED,), (7,))
    assert alone.scores["choice"].shape == (1, 1, 1)


@pytest.mark.parametrize(
    ("runs", "broken"),
    [
        ([Run(PLAIN, 7, {}), Run(PLAIN, 7, {})], "a run is given once"),
        ([Run(PLAIN, 7, {}), Run(Arm("t0001", 0.5), 7, {})], "an arm has one pruning rate"),
        ([Run(PLAIN, 7, {"choice": {"a": 1.5}})], "a score is a fraction"),
    ],
)
def test_runs_that_contradict_each_other_are_a_bug(runs, broken):
    with pytest.raises(AssertionError, match=broken):
        tabulate(runs)
