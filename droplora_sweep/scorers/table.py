"""Scorers by the name that they have in ``scoring``.

======== ========================================== =====================================
scoring  protocol ``paper``                         protocol ``strict``
======== ========================================== =====================================
choice   the first option in the response           the option that the whole response is
number   after the last ``The answer is: ``         math-verify
math     as number, same text in normal form        math-verify, or as paper
code     the first Python block, else everything    the first Python block
judge    a judge's rating of the whole response     the same
exact    the whole response, without outer spaces   the same
regex    ``pattern``'s first match                  the same
======== ========================================== =====================================

The rules of ``paper`` follow ``utils/test_acc.py`` and ``utils/code_process.py`` of the code
released with arXiv 2508.17337 (TayeeChang/DropLoRA), so that scores compare with the paper's;
where a rule is a defect, its function says so. Where the released code would stop with an error,
nothing is read or cut.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from droplora_sweep import plugins

from .choice import ChoiceScorer
from .numeric import MathScorer, NumberScorer
from .program import CodeScorer
from .scorer import Scorer
from .text import ExactScorer, JudgeScorer, RegexScorer

SCORER_GROUP: Final = "droplora_sweep.scorers"
"""Entry points of this group are scorers that an installed package brings."""

SCORERS: Final[dict[str, Scorer]] = {
    "choice": ChoiceScorer(),
    "number": NumberScorer(),
    "math": MathScorer(),
    "code": CodeScorer(),
    "judge": JudgeScorer(),
    "exact": ExactScorer(),
    "regex": RegexScorer(),
}
"""Built-in scorers."""


def scorer_names() -> tuple[str, ...]:
    """Return every name that ``scoring`` may have here; no package is imported."""
    return (*SCORERS, *sorted(plugins.names(SCORER_GROUP) - SCORERS.keys()))


def make_scorer(name: str, options: tuple[str, ...] = (), pattern: str | None = None) -> Scorer:
    """Return the scorer of a benchmark.

    Args:
        name: Its ``scoring``, one of ``scorer_names()``.
        options: Its options.
        pattern: Its pattern.

    Raises:
        PluginError: No installed package brings a scorer of this name, or its entry point leads to
            none.
    """
    found = plugins.load(SCORER_GROUP, name, Scorer, SCORERS) or SCORERS.get(name)
    if found is None:
        known = ", ".join(scorer_names())
        raise plugins.PluginError(
            f"must be one of {known}, got {name}: no package that is installed here brings it"
        )
    return replace(found, options=options, pattern=pattern)
