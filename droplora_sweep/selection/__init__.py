"""Records -> the best pruning rate per benchmark; imports nothing that trains or tracks."""

from .confirmation import Arm, Run, ScoreTable, tabulate
from .confirmed import ConfirmedDecision, ConfirmedRate, ConfirmedVerdict, Rule, decide
from .confirmed_sentences import confirmed_text, confirmed_texts
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
from .finalists import Finalists, choose_finalists
from .hopeless import is_behind
from .intervals import Estimate
from .methods import MethodRow, MethodTable, compare_methods, compared_fields
from .on_test import WinnerOnTest, winner_on_test_text, winners_on_test
from .paper import PaperComparison, PaperResult, compare_with_paper, paper_results
from .pareto import ParetoPoint, pareto_front
from .references import ReferenceRow
from .sentences import decision_text, decisions_text
from .sequential import Action, Budget, Step, next_step
from .standing import Standing, all_arms, arms_to_test, choose_questions, stand
from .trials import MEAN, Scores, TrialRecord
from .winners import Winner, winner_tags, winner_text, winners, winners_json

__all__ = [
    "MEAN",
    "Action",
    "Arm",
    "Budget",
    "Comparison",
    "ConfirmedDecision",
    "ConfirmedRate",
    "ConfirmedVerdict",
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
    "all_arms",
    "arms_to_test",
    "best_per_benchmark",
    "choose_finalists",
    "choose_questions",
    "compare_methods",
    "compare_with_paper",
    "compared_fields",
    "confirmed_text",
    "confirmed_texts",
    "decide",
    "decision_text",
    "decisions_text",
    "explore",
    "is_behind",
    "marginal_text",
    "next_step",
    "paper_results",
    "pareto_front",
    "score_estimate",
    "stand",
    "tabulate",
    "winner_on_test_text",
    "winner_tags",
    "winner_text",
    "winners",
    "winners_json",
    "winners_on_test",
]
