"""Benchmarks and training mixtures: one entry of data each, no code; plug-ins bring their own.

Options and prompts follow the protocol of arXiv 2508.17337 and LLM-Adapters (arXiv 2304.01933);
sizes are those of the files LLM-Adapters publishes.

A plug-in's package names its benchmark in its ``pyproject.toml``::

    [project.entry-points."droplora_sweep.benchmarks"]
    my_benchmark = "my_package:my_benchmark"

``my_package.my_benchmark`` is called without arguments and returns a ``BenchmarkEntry``. With
``folders`` its files are read like those of a known benchmark. With ``load`` it reads them itself:
``load(folder)``, where ``folder`` is ``task.data`` (None if that is null), returns a mapping of
``train``, ``validation`` and ``test`` (each may be missing) to lists of ``Example``. It must return
the same examples on each call, and the package must be installed wherever a trial runs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from droplora_sweep import plugins
from droplora_sweep.scorers.table import make_scorer
from droplora_sweep.spec import PLUGIN_GROUP

from .builtin.generation import BUILTIN_BENCHMARKS
from .task import CODE_TEMPLATE, TEMPLATE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from droplora_sweep.scorers.scorer import Scorer
    from droplora_sweep.spec import Format, RecordField

    from .task import Example


BUILTIN_DATA_SEED: Final = 20250823
"""Seed of the built-in benchmarks: not a trial's, so that all trials see the same data."""


@dataclass(frozen=True)
class BenchmarkEntry:
    """A benchmark or training mixture before its data is read.

    Attributes:
        scoring: Name of its scorer (see ``scorers.table``); None for a training mixture, which is
            not scored.
        options: Names of the options, for scorers that need them.
        prompt_suffix: Ends the prompt (see ``render_prompt``).
        template: The prompt without it, where ``task.prompt`` is null; None is the paper's.
        folders: Names its folder may have inside ``task.data``; the first that exists is read.
        published_sizes: Examples per published split.
        max_new_tokens: Enough for every gold response, where the benchmark knows; else None.
        formats: Layouts its files may have; the first record tells which one it is.
        files: Published file names by split, beside ``train.json`` and so on.
        pattern: Regular expression of an answer, for scorers that need one.
        fields: Name in the file by field's name, where its files have names of their own.
        published_as: Name under which the data is published.
        load: Reads the data instead of this package (see above): from ``task.data``'s
            folder, or None, to the examples of each split.
    """

    scoring: str | None
    options: tuple[str, ...] = ()
    prompt_suffix: str = "\n"
    template: str | None = None
    folders: tuple[str, ...] = ()
    published_sizes: Mapping[str, int] = field(default_factory=dict)
    max_new_tokens: int | None = None
    formats: tuple[Format, ...] = ("llm_adapters",)
    files: Mapping[str, str] = field(default_factory=dict)
    pattern: str | None = None
    fields: Mapping[RecordField, str] = field(default_factory=dict)
    published_as: str | None = None
    load: Callable[[Path | None], Mapping[str, Sequence[Example]]] | None = None

    @property
    def scorer(self) -> Scorer:
        """The scorer of a benchmark.

        Raises:
            PluginError: No package brings it here, or its entry point leads to none.
        """
        assert self.scoring is not None, "a training mixture is not scored"
        return make_scorer(self.scoring, self.options, self.pattern)

    @property
    def needs_answers(self) -> bool:
        """True where responses are compared with right answers."""
        return self.scoring is not None and not self.scorer.is_rated

    @property
    def is_builtin(self) -> bool:
        """True where the data is generated, so that no folder is read."""
        return not self.folders and self.load is None

    @property
    def has_training_split(self) -> bool:
        """True where it is published with examples to train on, or its sizes are not known."""
        return "train" in self.published_sizes or not self.published_sizes


_ANSWERS: Final = tuple(f"answer{index}" for index in range(1, 6))

MATH_SUFFIX: Final = " Let's think step by step."

BENCHMARKS: Final[dict[str, BenchmarkEntry]] = {
    "boolq": BenchmarkEntry(
        scoring="choice",
        options=("true", "false"),
        folders=("boolq",),
        published_sizes={"train": 9_427, "test": 3_270},
    ),
    "piqa": BenchmarkEntry(
        scoring="choice",
        options=("solution1", "solution2"),
        folders=("piqa",),
        published_sizes={"train": 16_113, "test": 1_838},
    ),
    "siqa": BenchmarkEntry(
        scoring="choice",
        options=_ANSWERS,
        folders=("siqa", "social_i_qa"),
        published_sizes={"train": 33_410, "test": 1_954},
    ),
    "hellaswag": BenchmarkEntry(
        scoring="choice",
        options=tuple(f"ending{index}" for index in range(1, 5)),
        folders=("hellaswag",),
        published_sizes={"train": 39_905, "test": 10_042},
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
    "gsm8k": BenchmarkEntry(
        scoring="number",
        prompt_suffix=MATH_SUFFIX,
        folders=("gsm8k", "gsm8k_original", "main"),
        published_sizes={"train": 7_473, "test": 1_319},
        formats=("llm_adapters", "gsm8k"),
    ),
    "math": BenchmarkEntry(
        scoring="math",
        prompt_suffix=MATH_SUFFIX,
        folders=("math", "MATH"),
        published_sizes={"train": 7_500, "test": 5_000},
        formats=("math", "llm_adapters"),
    ),
    "humaneval": BenchmarkEntry(
        scoring="code",
        prompt_suffix="",
        template=CODE_TEMPLATE,
        folders=("humaneval",),
        published_sizes={"test": 164},
        formats=("humaneval",),
        files={"test": "HumanEval.jsonl.gz"},
    ),
    "mbpp": BenchmarkEntry(
        scoring="code",
        prompt_suffix="",
        template=CODE_TEMPLATE,
        folders=("mbpp",),
        published_sizes={"train": 374, "validation": 90, "test": 500},
        formats=("mbpp",),
        files=dict.fromkeys(("train", "validation", "test"), "mbpp.jsonl"),
    ),
    "mbpp_evalplus": BenchmarkEntry(
        scoring="code",
        prompt_suffix="",
        template=CODE_TEMPLATE,
        folders=("mbpp_evalplus", "mbppplus"),
        published_sizes={"test": 378},
        formats=("mbpp_evalplus", "mbpp_plus"),
        files={"test": "MbppPlus.jsonl"},
        published_as="MbppPlus.jsonl of github.com/evalplus/mbppplus_release, or evalplus/mbppplus",
    ),
    "mt_bench": BenchmarkEntry(
        scoring="judge",
        prompt_suffix="",
        template=TEMPLATE,
        folders=("mt_bench",),
        published_sizes={"test": 80},
        formats=("mt_bench",),
        files={"test": "question.jsonl"},
    ),
    "mt_bench_first_turn": BenchmarkEntry(
        scoring="judge",
        prompt_suffix="",
        template=TEMPLATE,
        folders=("mt_bench_first_turn", "mt_bench"),
        published_sizes={"test": 80},
        formats=("mt_bench_first_turn",),
        files={"test": "question.jsonl"},
    ),
    **{
        name: BenchmarkEntry(
            scoring=one.scoring,
            options=one.options,
            prompt_suffix=one.prompt_suffix,
            published_sizes={"train": 2_000, "validation": 1_000, "test": 500},
            max_new_tokens=one.max_new_tokens,
        )
        for name, one in BUILTIN_BENCHMARKS.items()
    },
}
"""Every benchmark by the name it has in ``task.benchmarks``: those of ``spec.BENCHMARK_NAMES``."""

MIXTURES: Final[dict[str, BenchmarkEntry]] = {
    "commonsense_170k": BenchmarkEntry(
        scoring=None,
        folders=("commonsense_170k",),
        published_sizes={"train": 170_420},
        files={"train": "commonsense_170k.json"},
        published_as="commonsense_170k.json of github.com/AGI-Edgerunners/LLM-Adapters",
    ),
    "metamathqa": BenchmarkEntry(
        scoring=None,
        prompt_suffix=MATH_SUFFIX,
        folders=("metamathqa", "MetaMathQA"),
        published_sizes={"train": 395_000},
        formats=("metamathqa",),
        files={"train": "MetaMathQA-395K.json"},
        published_as="meta-math/MetaMathQA",
    ),
    "codefeedback_python": BenchmarkEntry(
        scoring=None,
        prompt_suffix="",
        template=CODE_TEMPLATE,
        folders=("codefeedback_python", "CodeFeedback-Filtered-Instruction"),
        published_sizes={"train": 104_848},
        formats=("codefeedback_python",),
        files={"train": "CodeFeedback-Filtered-Instruction.jsonl"},
        published_as="m-a-p/CodeFeedback-Filtered-Instruction",
    ),
    "evol_instruct": BenchmarkEntry(
        scoring=None,
        prompt_suffix="",
        template=TEMPLATE,
        folders=("evol_instruct",),
        published_sizes={"train": 143_000},
        formats=("evol_instruct",),
        files={"train": "WizardLM_evol_instruct_V2_143k.json"},
        published_as="WizardLMTeam/WizardLM_evol_instruct_V2_196k",
    ),
}
"""Every training mixture by the name it has in ``task.train.name``."""


def find_benchmark(name: str) -> BenchmarkEntry | None:
    """Return the entry of a benchmark that is built in or that an installed package brings.

    Raises:
        PluginError: The package's entry point does not lead to a benchmark.
    """
    brought = plugins.load(PLUGIN_GROUP, name, BenchmarkEntry, BENCHMARKS)
    if brought is not None and brought.is_builtin:
        raise plugins.PluginError(
            f"entry point {name}: must return an entry with `folders` or `load`, got neither"
        )
    return brought or BENCHMARKS.get(name)
