"""Records -> the best pruning rate per benchmark; imports nothing that trains or tracks."""

from .confirmation import Arm, Run, ScoreTable, tabulate
from .confirmed import ConfirmedDecision, ConfirmedRate, ConfirmedVerdict, Rule, decide
from .confirmed_sentences import arm_labels, confirmed_text, confirmed_texts, verdict_text
from .coverage import Coverage, coverage, coverage_text
from .decisions import (
    Comparison,
    Decision,
    Finalist,
    RateRow,
    Verdict,
    best_per_benchmark,
    score_estimate,
)
from .exploration import Marginal, explore, marginal_text
from .finalists import Finalists, choose_finalists, ties_text
from .hopeless import is_behind
from .intervals import Estimate
from .methods import MethodRow, MethodTable, compare_methods, compared_fields
from .on_test import WinnerOnTest, winner_on_test_text, winners_on_test
from .paper import PaperComparison, PaperResult, compare_with_paper, paper_results
from .pareto import ParetoPoint, pareto_front
from .references import ReferenceRow
from .sentences import decision_text, decisions_text, explored_text
from .sequential import Action, Budget, Step, next_step
from .standing import Standing, all_arms, arms_to_test, choose_questions, stand
from .trials import MEAN, Scores, TrialRecord
from .winners import (
    Winner,
    adapters_text,
    first_run,
    winner_tags,
    winner_text,
    winners,
    winners_json,
)

__all__ = [
    "MEAN",
    "Action",
    "Arm",
    "Budget",
    "Comparison",
    "ConfirmedDecision",
    "ConfirmedRate",
    "ConfirmedVerdict",
    "Coverage",
    "Decision",
    "Estimate",
    "Finalist",
    "Finalists",
    "Marginal",
    "MethodRow",
    "MethodTable",
    "PaperComparison",
    "PaperResult",
    "ParetoPoint",
    "RateRow",
    "ReferenceRow",
    "Rule",
    "Run",
    "ScoreTable",
    "Scores",
    "Standing",
    "Step",
    "TrialRecord",
    "Verdict",
    "Winner",
    "WinnerOnTest",
    "adapters_text",
    "all_arms",
    "arm_labels",
    "arms_to_test",
    "best_per_benchmark",
    "choose_finalists",
    "choose_questions",
    "compare_methods",
    "compare_with_paper",
    "compared_fields",
    "confirmed_text",
    "confirmed_texts",
    "coverage",
    "coverage_text",
    "decide",
    "decision_text",
    "decisions_text",
    "explore",
    "explored_text",
    "first_run",
    "is_behind",
    "marginal_text",
    "next_step",
    "paper_results",
    "pareto_front",
    "score_estimate",
    "stand",
    "tabulate",
    "ties_text",
    "verdict_text",
    "winner_on_test_text",
    "winner_tags",
    "winner_text",
    "winners",
    "winners_json",
    "winners_on_test",
]
