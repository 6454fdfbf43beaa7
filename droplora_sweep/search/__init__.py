"""Which trials are run and which go on: Optuna draws, Ray Tune schedules."""

from .known import Ending, Known, KnownTrial, LastReport, OpenTrial
from .pins import Pins
from .queue import QueueSearcher
from .reconciling import reconciled_study
from .runner import TrialListener, run_search
from .searcher import StudySearcher
from .suggestion import Suggestion

__all__ = [
    "Ending",
    "Known",
    "KnownTrial",
    "LastReport",
    "OpenTrial",
    "Pins",
    "QueueSearcher",
    "StudySearcher",
    "Suggestion",
    "TrialListener",
    "reconciled_study",
    "run_search",
]
