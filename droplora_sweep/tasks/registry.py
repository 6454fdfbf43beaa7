"""Which benchmarks exist: one entry of data each, no code.

Options and prompts follow the protocol of arXiv 2508.17337 and LLM-Adapters (arXiv 2304.01933);
sizes are those of the files LLM-Adapters publishes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from .builtin import BUILTIN_BENCHMARKS

if TYPE_CHECKING:
    from collections.abc import Mapping

Scoring = Literal["choice", "number", "code"]

BUILTIN_DATA_SEED: Final = 20250823
"""Generates the built-in benchmarks.

It is fixed, and not a trial's seed, so that trials with different seeds see the same data.
"""


@dataclass(frozen=True)
class BenchmarkEntry:
    """What is known of a benchmark before its data is read.

    Attributes:
        scoring: How a response is compared with ``Example.answer``: ``choice`` (an option's
            name), ``number``, or ``code`` (Python tests that must pass).
        options: For ``choice``, every option's name; the first one that a response holds is its
            prediction.
        prompt_suffix: Ends the prompt (see ``render_prompt``).
        folders: Names its folder may have inside ``task.data``; the first that exists is read.
        published_sizes: Examples per published split.
        max_new_tokens: Enough for every gold response, where the benchmark knows; else None.
    """

    scoring: Scoring
    options: tuple[str, ...] = ()
    prompt_suffix: str = "\n"
    folders: tuple[str, ...] = ()
    published_sizes: Mapping[str, int] = field(default_factory=dict)
    max_new_tokens: int | None = None

    @property
    def is_builtin(self) -> bool:
        """Whether the data is generated, so that no folder is read."""
        return not self.folders


_ANSWERS: Final = tuple(f"answer{index}" for index in range(1, 6))

_BUILTIN_SCORING: Final[dict[str, tuple[Scoring, tuple[str, ...]]]] = {
    "builtin_choice": ("choice", _ANSWERS),
    "builtin_math": ("number", ()),
    "builtin_code": ("code", ()),
}

BENCHMARKS: Final[dict[str, BenchmarkEntry]] = {
    "boolq": BenchmarkEntry(
        scoring="choice",
        options=("true", "false"),
        folders=("boolq",),
        published_sizes={"train": 9_427, "test": 3_270},
    ),
    "siqa": BenchmarkEntry(
        scoring="choice",
        options=_ANSWERS,
        folders=("siqa", "social_i_qa"),
        published_sizes={"train": 33_410, "test": 1_954},
    ),
    "winogrande": BenchmarkEntry(
        scoring="choice",
        options=("option1", "option2"),
        folders=("winogrande",),
        published_sizes={"train": 63_238, "test": 1_267},
    ),
    "arc_easy": BenchmarkEntry(
        scoring="choice",
        options=_ANSWERS,
        folders=("arc_easy", "ARC-Easy"),
        published_sizes={"train": 2_251, "test": 2_376},
    ),
    "arc_challenge": BenchmarkEntry(
        scoring="choice",
        options=_ANSWERS,
        folders=("arc_challenge", "ARC-Challenge"),
        published_sizes={"train": 1_119, "test": 1_172},
    ),
    "openbookqa": BenchmarkEntry(
        scoring="choice",
        options=_ANSWERS,
        folders=("openbookqa",),
        published_sizes={"train": 4_957, "test": 500},
    ),
    **{
        name: BenchmarkEntry(
            scoring=scoring,
            options=options,
            prompt_suffix=BUILTIN_BENCHMARKS[name].prompt_suffix,
            published_sizes={"train": 2_000, "validation": 1_000, "test": 500},
            max_new_tokens=BUILTIN_BENCHMARKS[name].max_new_tokens,
        )
        for name, (scoring, options) in _BUILTIN_SCORING.items()
    },
}
"""Every benchmark by the name it has in ``task.benchmarks``."""
