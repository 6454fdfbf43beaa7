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

By either protocol, ``f1``, ``exact_match``, ``bleu``, ``chrf``, ``rouge1``, ``rouge2`` and
``rougeL`` compare the whole response with one reference or several (see ``overlap``), ``command``
has a program score it, and ``module:function`` a function (see ``own``).

The rules of ``paper`` follow ``utils/test_acc.py`` and ``utils/code_process.py`` of the code
released with arXiv 2508.17337 (TayeeChang/DropLoRA), so that scores compare with the paper's;
where a rule is a defect, its function says so. Where the released code would stop with an error,
nothing is read or cut.
"""

from __future__ import annotations

import difflib
from dataclasses import replace
from typing import Any, Final

from droplora_sweep import plugins

from .choice import ChoiceScorer
from .numeric import MathScorer, NumberScorer
from .overlap import BleuScorer, ChrfScorer, ExactMatchScorer, F1Scorer, RougeScorer
from .own import COMMAND, DEFAULT_TIMEOUT_S, CommandScorer, find_scorer, is_place
from .program import CodeScorer
from .scorer import Direction, Scorer
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
    "f1": F1Scorer(),
    "exact_match": ExactMatchScorer(),
    "bleu": BleuScorer(),
    "chrf": ChrfScorer(),
    "rouge1": RougeScorer(kind="rouge1"),
    "rouge2": RougeScorer(kind="rouge2"),
    "rougeL": RougeScorer(kind="rougeL"),
}
"""Built-in scorers."""


def scorer_names() -> tuple[str, ...]:
    """Return every name that ``scoring`` may have here; no package is imported."""
    return (*SCORERS, COMMAND, *sorted(plugins.names(SCORER_GROUP) - SCORERS.keys()))


def is_graded(name: str) -> bool:
    """Return True where a scorer of this name may give a part of the score; not of packages."""
    return name in _GRADED or name == COMMAND or is_place(name)


_GRADED: Final = ("f1", "bleu", "chrf", "rouge1", "rouge2", "rougeL")


def unknown_scoring(name: str) -> str | None:
    """Return the problem of a ``scoring`` that is neither a name nor a place of code."""
    if name in SCORERS or is_place(name) or name in (known := scorer_names()):
        return None
    near = difflib.get_close_matches(name.lower(), [*known, *_ALSO_KNOWN], n=1, cutoff=0.6)
    hint = f"; did you mean {_ALSO_KNOWN.get(near[0], near[0])}?" if near else ""
    return f"must be {', '.join(map(repr, known))} or MODULE:FUNCTION, got {name!r}{hint}"


_ALSO_KNOWN: Final = {
    "accuracy": "exact",
    "em": "exact_match",
    "rouge": "rougeL",
    "rougel": "rougeL",
    "sacrebleu": "bleu",
    "token_f1": "f1",
    "macro_f1": "exact with metrics: [macro_f1]",
}
"""Names that other tools have for scorers, in lower case."""


def make_scorer(
    name: str,
    options: tuple[str, ...] = (),
    pattern: str | None = None,
    *,
    command: tuple[str, ...] = (),
    command_timeout_s: float | None = None,
    direction: Direction | None = None,
) -> Scorer:
    """Return the scorer of a benchmark.

    Args:
        name: Its ``scoring``, one of ``scorer_names()`` or a place of code.
        options: Its options.
        pattern: Its pattern.
        command: Its command.
        command_timeout_s: Seconds that it may take; the usual ones where None.
        direction: Side on which its numbers are better; the scorer's own where None.

    Raises:
        PluginError: No installed package brings a scorer of this name, its entry point or place
            leads to none, or a package that it needs is not installed.
    """
    if name == COMMAND:
        timeout_s = DEFAULT_TIMEOUT_S if command_timeout_s is None else command_timeout_s
        found: Scorer | None = CommandScorer(command=command, timeout_s=timeout_s)
    elif is_place(name):
        found = find_scorer(name)
    else:
        found = plugins.load(SCORER_GROUP, name, Scorer, SCORERS) or SCORERS.get(name)
    if found is None:
        known = ", ".join(scorer_names())
        raise plugins.PluginError(
            f"must be one of {known}, got {name}: no package that is installed here brings it"
        )
    if missing := found.missing_package():
        raise plugins.PluginError(f"{missing}, got {name}")
    changes: dict[str, Any] = {} if direction is None else {"direction": direction}
    return replace(found, options=options, pattern=pattern, **changes)
