import pytest
from scipy.stats import norm

from droplora_sweep.analysis.interim import holm, nominal_levels, spent


def test_levels_are_the_published_boundaries():
    """Five equal looks, 5 % two-sided, O'Brien-Fleming-like spending: Lan and DeMets' program."""
    found = [norm.isf(level / 2) for level in nominal_levels((1, 2, 3, 4, 5), 0.05)]
    assert found == pytest.approx([4.8769, 3.3569, 2.6803, 2.2898, 2.0310], abs=0.005)


def test_a_single_look_is_a_plain_test():
    assert nominal_levels((5,), 0.05) == (pytest.approx(0.05),)
    assert spent(1.0, 0.05) == pytest.approx(0.05)


def test_levels_grow_with_the_evidence_and_stay_below_alpha():
    levels = nominal_levels((3, 4, 6, 10), 0.05 / 3)
    assert list(levels) == sorted(levels)
    assert levels[0] < 0.001
    assert levels[-1] < 0.05 / 3


def test_looks_out_of_order_are_a_bug():
    with pytest.raises(AssertionError, match="looks are ascending"):
        nominal_levels((4, 3), 0.05)


def test_holm_is_step_down_and_keeps_the_order():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])


def test_holm_counts_what_was_not_confirmed():
    assert holm([0.01, 0.5], family=10) == pytest.approx([0.1, 1.0])
