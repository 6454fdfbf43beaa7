"""Records -> the best pruning rate per benchmark; imports nothing that trains or tracks."""

from .decisions import (
    Comparison,
    Decision,
    Finalist,
    RateRow,
    Verdict,
    best_per_benchmark,
)
from .intervals import Estimate
from .sentences import decision_text, decisions_text
from .trials import MEAN, Scores, TrialRecord

__all__ = [
    "MEAN",
    "Comparison",
    "Decision",
    "Estimate",
    "Finalist",
    "RateRow",
    "Scores",
    "TrialRecord",
    "Verdict",
    "best_per_benchmark",
    "decision_text",
    "decisions_text",
]
