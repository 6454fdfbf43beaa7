"""Which trials are run and which go on: Optuna draws, Ray Tune schedules."""

from .runner import Ending, TrialListener, run_search
from .searcher import StudySearcher
from .suggestion import Suggestion

__all__ = ["Ending", "StudySearcher", "Suggestion", "TrialListener", "run_search"]
