"""How a model answers a benchmark's prompts, one module per kind of answer.

Each takes a ``Share`` of a benchmark and an ``Answerer`` and gives results: ``scored_options``
compares the probabilities of a closed set of answers; ``decoded`` continues each prompt greedily;
``sampled`` draws several responses; ``conversed`` answers each turn and has a judge rate it.
"""

from .conversed import answer_and_rate
from .decoded import answer_greedily
from .sampled import answer_by_sampling
from .scored_options import answer_by_probability
from .share import Answerer, Share

__all__ = [
    "Answerer",
    "Share",
    "answer_and_rate",
    "answer_by_probability",
    "answer_by_sampling",
    "answer_greedily",
]
