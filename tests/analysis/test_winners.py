"""One winner per benchmark: confirmed where arms were confirmed, else marked as exploratory."""

from dataclasses import dataclass

import numpy as np

from droplora_sweep.analysis.confirmed import Rule, decide
from droplora_sweep.analysis.search_decision import BestTrial, Decision, Verdict
from droplora_sweep.analysis.winners import winner_tags, winner_text, winners
from tests.analysis.synthetic import World, table_of


@dataclass(frozen=True)
class Run:
    trial_id: str
    number: int
    state: str
    arm: str


EXPLORED = Decision(
    benchmark="choice",
    best=BestTrial("t0003-00000001", 3, 0.2, "droplora", 8, 0.75, None),
    pruned=None,
    unpruned=None,
    paired_test=None,
    verdict=Verdict.NO_BASELINE,
    rates=(),
)


def confirmed():
    generator = np.random.default_rng(0)
    scores = World().scores((0.4, 0.8), 5, 400, generator)
    table = table_of((0.0, 0.3), choice=scores)
    return decide(table, "choice", table.arms, Rule(looks=(5,)))


def test_without_confirmation_the_best_search_trial_wins():
    [winner] = winners([EXPLORED], (), ())
    assert (winner.kind, winner.trial_id, winner.pruning_rate) == (
        "exploratory",
        "t0003-00000001",
        0.2,
    )
    assert winner_text(winner) == (
        "choice: p = 0.2 (t0003-00000001); no p = 0 trial is complete; exploratory"
    )


def test_a_confirmed_arm_is_stood_for_by_its_first_run_not_its_luckiest():
    runs = (
        Run("c0004-00000001", 4, "COMPLETE", "t0001"),
        Run("c0001-00000002", 1, "FAILED", "t0001"),
        Run("c0002-00000003", 2, "COMPLETE", "t0001"),
        Run("c0000-00000004", 0, "COMPLETE", "t0000"),
    )
    [winner] = winners([EXPLORED], [confirmed()], runs)
    assert (winner.kind, winner.pruning_rate) == ("confirmed", 0.3)
    assert winner.trial_id == "c0002-00000003"
    assert winner.difference is not None
    assert winner.difference.low > 0
    assert winner.p_value is not None
    assert winner.p_value < 0.05
    assert winner_tags(winner)["choice/verdict"] == "p = 0.3 is better than p = 0"


def test_where_no_run_of_the_arm_is_complete_the_search_decides():
    [winner] = winners([EXPLORED], [confirmed()], ())
    assert winner.kind == "exploratory"
