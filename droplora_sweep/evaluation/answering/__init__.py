"""How a model answers a benchmark's prompts, one module per kind of answer.

Each takes a ``Share`` of a benchmark and an ``Answerer`` and gives results: ``scored_options``
compares the probabilities of a closed set of answers; ``decoded`` continues each prompt greedily.
"""

from .decoded import answer_greedily
from .scored_options import answer_by_probability
from .share import Answerer, Share

__all__ = ["Answerer", "Share", "answer_by_probability", "answer_greedily"]
